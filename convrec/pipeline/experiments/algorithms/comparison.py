"""Test metrics of the training runs of a comparison, with paired intervals.

An algorithm's value is the mean over its seeds and the test samples, and its interval covers the
choice of both (`seed_intervals`). Each seed also has its own rows (`rank_grpo, seed 7`), whose
intervals cover samples only. Differences are paired by sample: every algorithm minus the SFT
checkpoint that all start from, and the first algorithm minus each other one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from convrec.artifacts import StepResult
from convrec.errors import InputError
from convrec.metrics.scored_lists import EvaluationProtocol
from convrec.metrics.seed_intervals import seed_intervals
from convrec.pipeline.experiments.algorithms.training_runs import TrainingRun
from convrec.pipeline.graph import Node
from convrec.stages.base import Step, StepContext
from convrec.stages.catalog_titles import alias_inputs
from convrec.stages.evaluate.baselines import read_baselines
from convrec.stages.evaluate.evaluator import (
    Evaluator,
    MetricRow,
    MetricValues,
    complete_rows,
)
from convrec.stages.evaluate.metrics import metrics_frame, score_settings
from convrec.stages.evaluate.paired import PAIRED_METRICS
from convrec.stages.evaluate.samples import SampleList, read_samples
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
    return role.removeprefix(ROLE_PREFIX).rpartition(", seed ")[0]


def _comparison_step(first: str) -> Step:
    return Step(
        stage="evaluate",
        kind="metrics",
        version=2,
        build=lambda ctx: _build(ctx, first),
        config=lambda config: {**score_settings(config), "compared": first},
        inputs=alias_inputs,
    )


def _build(ctx: StepContext, first: str) -> StepResult:
    samples = read_samples(ctx)
    if not samples:
        raise InputError(
            "the test split has no conversation with a ground truth, so training runs cannot be "
            "compared; check ingest.path"
        )
    evaluator = Evaluator(samples, ctx.frame("catalog"), ctx.config)
    baselines = read_baselines(ctx)
    lists: dict[str, list[SampleList]] = system_lists(ctx, samples, evaluator.index, baselines)
    seeds: dict[str, list[str]] = {}  # algorithm -> the systems of its seeds
    for role in (role for role in ctx.parents if role.startswith(ROLE_PREFIX)):
        system = role.removeprefix(ROLE_PREFIX)
        lists[system] = generated_lists(ctx.frame(role), samples)
        seeds.setdefault(_algorithm_of(role), []).append(system)
    values = {name: evaluator.values(some, STANDARD) for name, some in lists.items()}
    rows = [row for name in values for row in evaluator.rows(values[name], name, None, STANDARD)]
    runs = {"sft": [values["sft"]]}
    runs |= {name: [values[system] for system in systems] for name, systems in seeds.items()}
    pairs: list[tuple[str, str | None]] = [(name, None) for name in seeds]
    pairs += [(name, "sft") for name in seeds]
    pairs += [(first, name) for name in seeds if name != first]
    for system, versus in pairs:
        rows += _seed_rows(evaluator, runs, system, versus, ctx.config.seed)
    figures = {
        f"{row.system} {row.metric}": round(row.value, 4)
        for row in rows
        if not row.versus and row.metric == "ndcg@20"
    }
    return StepResult(metrics_frame(rows), figures)


def _seed_rows(
    evaluator: Evaluator,
    runs: Mapping[str, Sequence[MetricValues]],
    system: str,
    versus: str | None,
    seed: int,
) -> list[MetricRow]:
    """The rows of an algorithm, or of its difference to another system, over all seeds.

    `runs` has the values by sample of each seed. Samples without a list of both are left out.
    """
    metrics = list(PAIRED_METRICS) if versus else list(runs[system][0])
    tables = {
        name: [np.column_stack([values[metric] for metric in metrics]) for values in runs[name]]
        for name in (system, versus)
        if name is not None
    }
    present = complete_rows(np.column_stack([table for each in tables.values() for table in each]))
    if not present.any():
        return []
    kept = [[table[present] for table in each] for each in tables.values()]
    intervals = seed_intervals(evaluator.bootstrap(present), *kept, seed=seed)
    n = int(present.sum())
    return [
        MetricRow(system, versus, STANDARD, metric, *interval, n)
        for metric, interval in zip(metrics, intervals, strict=True)
    ]
