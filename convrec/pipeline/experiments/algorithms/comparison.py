"""Test metrics of the training runs of a comparison, with paired intervals.

The lists of an algorithm's seeds are draws of one system: a test sample counts with their mean, so
an interval covers the choice of conversations and not of seeds. Each seed also has its own rows
(`rank_grpo, seed 7`). Differences are paired by sample: every algorithm minus the SFT checkpoint
that all start from, and the first algorithm minus each other one.
"""

from __future__ import annotations

from collections.abc import Iterable

from convrec.artifacts import StepResult
from convrec.errors import InputError
from convrec.metrics.scored_lists import EvaluationProtocol
from convrec.pipeline.experiments.algorithms.training_runs import TrainingRun
from convrec.pipeline.graph import Node
from convrec.stages.base import Step, StepContext
from convrec.stages.evaluate.evaluator import Evaluator
from convrec.stages.evaluate.metrics import metrics_frame, score_settings
from convrec.stages.evaluate.paired import PAIRED_METRICS
from convrec.stages.evaluate.samples import SampleList, held_out_samples
from convrec.stages.evaluate.systems import generated_lists, system_lists

ROLE_PREFIX = "generations of "
STANDARD: EvaluationProtocol = "standard"


def comparison_node(runs: Iterable[TrainingRun]) -> Node:
    """The node that scores these runs; the first run's algorithm is compared with the others."""
    reads = {name: name for name in ("catalog", "conversations", "generations_sft")}
    for run in runs:
        reads[f"{ROLE_PREFIX}{run.algorithm}, seed {run.seed}"] = run.generations_node().name
    first = next((role for role in reads if role.startswith(ROLE_PREFIX)), "")
    return Node("comparison", _comparison_step(_algorithm_of(first)), reads)


def _algorithm_of(role: str) -> str:
    return role.removeprefix(ROLE_PREFIX).split(",")[0]


def _comparison_step(first: str) -> Step:
    return Step(
        stage="evaluate",
        kind="metrics",
        version=1,
        build=lambda ctx: _build(ctx, first),
        config=lambda config: {**score_settings(config), "compared": first},
    )


def _build(ctx: StepContext, first: str) -> StepResult:
    samples = held_out_samples(ctx.frame("conversations"))
    if not samples:
        raise InputError(
            "the test split has no conversation with a ground truth, so training runs cannot be "
            "compared; check ingest.path"
        )
    evaluator = Evaluator(samples, ctx.frame("catalog"), ctx.config)
    lists: dict[str, list[SampleList]] = dict(system_lists(ctx, samples, evaluator.index))
    algorithms: dict[str, list[SampleList]] = {}
    for role in (role for role in ctx.parents if role.startswith(ROLE_PREFIX)):
        run_lists = generated_lists(ctx.frame(role), samples)
        algorithms.setdefault(_algorithm_of(role), []).extend(run_lists)
        lists[role.removeprefix(ROLE_PREFIX)] = run_lists
    lists |= algorithms
    values = {name: evaluator.values(some, STANDARD) for name, some in lists.items()}
    pairs = [(name, "sft") for name in algorithms]
    pairs += [(first, name) for name in algorithms if name != first]
    rows = [row for name in values for row in evaluator.rows(values[name], name, None, STANDARD)]
    for system, versus in pairs:
        a, b = values[system], values[versus]
        difference = {name: a[name] - b[name] for name in PAIRED_METRICS}
        rows += evaluator.rows(difference, system, versus, STANDARD)
    figures = {
        f"{row.system} {row.metric}": round(row.value, 4)
        for row in rows
        if not row.versus and row.metric == "ndcg@20"
    }
    return StepResult(metrics_frame(rows), figures)
