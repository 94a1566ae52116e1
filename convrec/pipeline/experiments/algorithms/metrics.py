"""What the trainings of a comparison are worth on the test split, with paired intervals.

The lists of an algorithm's seeds are draws of one system: each test sample counts with their mean,
so an interval speaks of other conversations, and each seed has its own rows beside it
(`rank_grpo, seed 7`). Differences are paired by sample: every algorithm minus the SFT checkpoint
that all started from, and the first algorithm minus each other one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from convrec.artifacts import StepResult
from convrec.errors import InputError
from convrec.metrics.registry import Protocol
from convrec.pipeline.experiments.algorithms.trainings import TrainingRun
from convrec.pipeline.graph import Node
from convrec.stages.base import Step, StepContext
from convrec.stages.evaluate.evaluator import Evaluator
from convrec.stages.evaluate.metrics import METRICS, metrics_frame
from convrec.stages.evaluate.paired import COMPARED
from convrec.stages.evaluate.samples import SampleList, held_out
from convrec.stages.evaluate.systems import generated, system_lists

if TYPE_CHECKING:
    from convrec.config import Config

ROLE = "generations of "
STANDARD: Protocol = "standard"


def comparison_node(trained: Iterable[TrainingRun]) -> Node:
    """The node that measures these trainings; the first one's algorithm is the one compared."""
    reads = {name: name for name in ("catalog", "conversations", "generations_sft")}
    for one in trained:
        reads[f"{ROLE}{one.algorithm}, seed {one.seed}"] = one.generations().name
    first = next((role for role in reads if role.startswith(ROLE)), "")
    return Node("comparison", _step(_algorithm(first)), reads)


def _algorithm(role: str) -> str:
    return role.removeprefix(ROLE).split(",")[0]


def _step(first: str) -> Step:
    def config(settings: Config) -> dict[str, Any]:
        return {**METRICS.config(settings), "compared": first}

    def build(ctx: StepContext) -> StepResult:
        return _build(ctx, first)

    return Step(stage="evaluate", kind="metrics", version=1, build=build, config=config)


def _build(ctx: StepContext, first: str) -> StepResult:
    samples = held_out(ctx.frame("conversations"))
    if not samples:
        raise InputError(
            "the test split has no conversation with a ground truth, so trainings cannot be "
            "compared; look at ingest.path"
        )
    measures = Evaluator(samples, ctx.frame("catalog"), ctx.config)
    lists: dict[str, list[SampleList]] = dict(system_lists(ctx, samples, measures.index))
    algorithms: dict[str, list[SampleList]] = {}
    for role in (role for role in ctx.parents if role.startswith(ROLE)):
        made = generated(ctx.frame(role), samples)
        algorithms.setdefault(_algorithm(role), []).extend(made)
        lists[role.removeprefix(ROLE)] = made
    lists |= algorithms
    values = {name: measures.values(made, STANDARD) for name, made in lists.items()}
    pairs = [(name, "sft") for name in algorithms]
    pairs += [(first, name) for name in algorithms if name != first]
    rows = [row for name in values for row in measures.rows(values[name], name, None, STANDARD)]
    for system, versus in pairs:
        a, b = values[system], values[versus]
        difference = {name: a[name] - b[name] for name in COMPARED}
        rows += measures.rows(difference, system, versus, STANDARD)
    figures = {f"{r[0]} {r[3]}": round(r[4], 4) for r in rows if not r[1] and r[3] == "ndcg@20"}
    return StepResult(metrics_frame(rows), figures)
