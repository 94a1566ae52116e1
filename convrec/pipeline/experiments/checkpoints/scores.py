"""Test metrics of several checkpoints in one table: means over seeds, differences, and strata.

The lists of a system's seeds are draws of one system: a test sample counts with their mean, so an
interval covers the choice of posts or dialogues and not of seeds. Each seed also has its own row
(`rank_grpo, seed 7`). Differences are paired by sample, on the whole test set and in each stratum
by popularity of the wanted item.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from convrec.artifacts import StepResult
from convrec.errors import InputError
from convrec.metrics.list_quality import QUALITY_METRICS
from convrec.metrics.registry import list_cutoff
from convrec.metrics.scored_lists import CUTOFFS
from convrec.pipeline.experiments.checkpoints.contenders import Contender
from convrec.pipeline.graph import Node
from convrec.stages.base import Step, StepContext
from convrec.stages.catalog_titles import alias_inputs
from convrec.stages.evaluate.baselines import read_baselines
from convrec.stages.evaluate.catalog_spread import catalog_spread_rows
from convrec.stages.evaluate.evaluator import Evaluator, MetricRow, MetricValues
from convrec.stages.evaluate.held_out_facts import held_out_figures
from convrec.stages.evaluate.metrics import metrics_frame, score_settings
from convrec.stages.evaluate.samples import Sample, SampleList, read_samples
from convrec.stages.evaluate.strata import popularity_strata, stratum_values
from convrec.stages.evaluate.systems import generated_lists, system_lists

_DATA = ("catalog", "conversations", "teacher_lists", "candidates", "judgments", "demonstrations")
_PREFIX = "generations of "
Lists = dict[str, list[SampleList]]


def scores_node(contenders: Iterable[Contender], versus: Sequence[str]) -> Node:
    """The node that scores the contenders, and compares each with the systems `versus`."""
    reads = {name: name for name in _DATA}
    for contender in contenders:
        reads[f"{_PREFIX}{contender.role}"] = contender.generations_node().name
    step = Step(
        stage="evaluate",
        kind="metrics",
        version=1,
        build=lambda ctx: _build(ctx, versus),
        config=lambda config: {**score_settings(config), "versus": list(versus)},
        inputs=alias_inputs,
    )
    return Node("scores", step, reads)


def shown_cutoff(list_length: int) -> int:
    """The cutoff of the metrics that are shown: the first that holds a whole list."""
    return next(k for k in CUTOFFS if k >= list_cutoff(list_length))


def _build(ctx: StepContext, versus: Sequence[str]) -> StepResult:
    samples = read_samples(ctx)
    if not samples:
        raise InputError(
            "the test split has no conversation with a ground truth, so checkpoints cannot be "
            "compared; check ingest.path"
        )
    evaluator = Evaluator(samples, ctx.frame("catalog"), ctx.config)
    baselines = read_baselines(ctx)
    training = baselines.training if baselines else None
    mentions = training.mentions if training else None
    found = system_lists(ctx, samples, evaluator.index, baselines)
    others = {name: some for name, some in found.items() if some}
    contenders = _contenders(ctx, samples)
    lists = {**others, **contenders}
    rows: list[MetricRow] = []
    values = {name: evaluator.values(some, "standard") for name, some in lists.items()}
    cutoff = shown_cutoff(ctx.config.list_length)
    compared = (f"ndcg@{cutoff}", f"recall@{cutoff}")
    for name, some in lists.items():
        shown = {metric: values[name][metric] for metric in (*compared, *QUALITY_METRICS)}
        rows += evaluator.rows(shown, name, None, "standard")
        rows += catalog_spread_rows(evaluator, some, name, mentions)
    pairs = [(a, b) for b in versus if b in values for a in contenders if a.split(",")[0] != b]
    rows += _rows(evaluator, values, pairs, compared, None)
    for stratum, truths in popularity_strata(samples, training).items():
        inside = {name: stratum_values(evaluator, some, truths) for name, some in lists.items()}
        inside = {name: found for name, found in inside.items() if found}
        alone: list[tuple[str, str | None]] = [(name, None) for name in inside]
        rows += _rows(evaluator, inside, [*alone, *pairs], compared, stratum)
    figures = held_out_figures(evaluator, lists)
    return StepResult(metrics_frame(rows), figures)


def _contenders(ctx: StepContext, samples: list[Sample]) -> Lists:
    """The lists of each system over its seeds, and of each seed where there are several."""
    by_seed: dict[str, Lists] = {}
    for role in (role for role in ctx.parents if role.startswith(_PREFIX)):
        name = role.removeprefix(_PREFIX)
        lists = generated_lists(ctx.frame(role), samples)
        if lists:
            by_seed.setdefault(name.split(",")[0], {})[name] = lists
    found: Lists = {}
    for system, seeds in by_seed.items():
        found[system] = [one for lists in seeds.values() for one in lists]
        if len(seeds) > 1:
            found |= seeds
    return found


def _rows(
    evaluator: Evaluator,
    values: dict[str, MetricValues],
    pairs: Iterable[tuple[str, str | None]],
    metrics: Sequence[str],
    stratum: str | None,
) -> list[MetricRow]:
    """Rows of systems (paired with None) and of paired differences, in a stratum or everywhere."""
    everything = np.ones(len(evaluator.samples), dtype=bool)
    rows: list[MetricRow] = []
    for a, b in pairs:
        if a not in values or (b is not None and b not in values):
            continue
        shown = {
            name: values[a][name] - (0.0 if b is None else values[b][name]) for name in metrics
        }
        part = None if stratum is None else (stratum, everything)
        rows += evaluator.rows(shown, a, b, "standard", part)
    return rows
