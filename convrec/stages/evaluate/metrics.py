"""The `metrics` artifact: every system scored in the same way, with confidence intervals.

Rows with `versus` compare two systems on the same samples (see `convrec.stages.evaluate.paired`),
rows with `slice` cover a part of the test set. List quality, catalog spread and hit rates by rank
do not depend on a protocol and are stored under `standard`. There is no `reference` protocol if
lists have no years or another format than "Title (year)", because the published code parses no
other line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from convrec.artifacts import StepResult
from convrec.config import Config
from convrec.errors import InputError
from convrec.metrics.list_quality import QUALITY_METRICS
from convrec.stages.base import Step, StepContext
from convrec.stages.catalog_titles import alias_inputs
from convrec.stages.evaluate.baselines import read_baselines
from convrec.stages.evaluate.catalog_spread import catalog_spread_rows
from convrec.stages.evaluate.evaluator import Evaluator, MetricRow, MetricValues
from convrec.stages.evaluate.held_out_facts import held_out_figures, held_out_json
from convrec.stages.evaluate.paired import DETECTABLE, OUTCOMES, PAIRED_METRICS, paired_rows
from convrec.stages.evaluate.samples import read_samples
from convrec.stages.evaluate.slices import slice_masks, slice_rows
from convrec.stages.evaluate.strata import popularity_strata
from convrec.stages.evaluate.systems import system_lists
from convrec.stages.ingest.dialogue_ids import dialogue_pattern

KNN_FIGURE = "knn neighbours"
"""The figure of the artifact with the k that was chosen for kNN."""

PAIRS = (
    ("rank_grpo", "sft"),
    ("rank_grpo", "teacher"),
    ("sft", "teacher"),
    ("sft", "adjusted"),
    ("sft", "base"),
    ("adjusted", "teacher"),
    ("adjusted", "reflected"),
    ("reflected", "remapped"),
    ("adjusted", "remapped"),
    ("remapped", "teacher"),
    ("rank_grpo", "knn"),
    ("rank_grpo", "popularity"),
    ("free", "rank_grpo"),
    ("served", "rank_grpo"),
    ("served", "free"),
    ("served", "knn"),
    ("checkpoint", "sft"),
    ("checkpoint", "rank_grpo"),
    ("checkpoint", "teacher"),
    ("checkpoint", "knn"),
    ("free", "checkpoint"),
    ("served", "checkpoint"),
)
"""Systems to compare, if both have lists."""


def metrics_json(metrics: pl.DataFrame, figures: Mapping[str, Any] = {}) -> dict[str, Any]:
    """Return `metrics`, `comparisons`, `slices` and `test_set` of a run's JSON file.

    All are of protocol `standard`; metrics and comparisons are of all test samples. A comparison
    also has the shares of wins, ties and losses and the detectable difference. `figures` are those
    of the artifact.
    """
    by_system: dict[str, dict[str, float]] = {}
    comparisons: dict[tuple[str, str, str], dict[str, Any]] = {}
    rows = metrics.filter((metrics["protocol"] == "standard") & metrics["slice"].is_null())
    for row in rows.iter_rows(named=True):
        name = row["metric"]
        if row["versus"] is not None:
            prefix, _, metric = name.rpartition(" ")
            key = (row["system"], row["versus"], metric)
            entry = comparisons.setdefault(key, dict(zip(("a", "b", "metric"), key, strict=True)))
            if prefix in (*OUTCOMES, DETECTABLE):
                entry[prefix] = row["value"]
            else:
                entry |= {"diff": row["value"], "low": row["low"], "high": row["high"]}
        elif "@rank" not in name:
            by_system.setdefault(row["system"], {})[name] = row["value"]
    return {
        "metrics": by_system,
        "comparisons": list(comparisons.values()),
        "slices": _slices_json(metrics),
        "test_set": held_out_json(figures, list(by_system)),
    }


def _slices_json(metrics: pl.DataFrame) -> list[dict[str, Any]]:
    columns = ("slice", "system", "metric", "value", "low", "high", "n")
    return metrics.filter(metrics["slice"].is_not_null()).select(columns).to_dicts()


def _build(ctx: StepContext) -> StepResult:
    samples = read_samples(ctx)
    if not samples:
        raise InputError(
            "the test split has no conversation with a ground truth, so nothing can be measured; "
            "check the conversations with `convrec artifacts show` and the setting ingest.path"
        )
    evaluator = Evaluator(samples, ctx.frame("catalog"), ctx.config)
    baselines = read_baselines(ctx)
    training, k = baselines or (None, 0)
    all_lists = system_lists(ctx, samples, evaluator.index, baselines)
    lists = {system: found for system, found in all_lists.items() if found}
    masks, strata = slice_masks(samples, ctx.config), popularity_strata(samples, training)
    mentions = training.mentions if training else None
    rows: list[MetricRow] = []
    for protocol in evaluator.protocols:
        values: dict[str, MetricValues] = {}
        for done, (system, found) in enumerate(lists.items()):
            ctx.progress(done, len(lists), f"{protocol}: {system}")
            values[system] = evaluator.values(found, protocol)
            rows += evaluator.rows(values[system], system, None, protocol)
            if protocol == "standard":
                rows += catalog_spread_rows(evaluator, found, system, mentions)
                rows += slice_rows(evaluator, found, values[system], system, masks, strata)
        for a, b in PAIRS:
            if a in values and b in values:
                rows += paired_rows(evaluator, values[a], values[b], (a, b), protocol)
    figures: dict[str, Any] = {
        f"{r.system} {r.metric}": round(r.value, 4) for r in rows if _is_headline(r)
    }
    figures |= {KNN_FIGURE: k, **held_out_figures(evaluator, lists)}
    return StepResult(metrics_frame(rows), figures)


def _is_headline(row: MetricRow) -> bool:
    is_main = row.versus is None and row.slice is None and row.protocol == "standard"
    return is_main and row.metric in (*PAIRED_METRICS, *QUALITY_METRICS)


def metrics_frame(rows: Sequence[MetricRow]) -> pl.DataFrame:
    """Return rows as a frame with the columns of the `metrics` table."""
    texts = dict.fromkeys(("system", "versus", "protocol", "metric", "slice"), pl.String)
    values = dict.fromkeys(("value", "low", "high"), pl.Float64)
    frame = pl.DataFrame(
        rows, MetricRow._fields, schema_overrides={**texts, **values, "n": pl.Int32}, orient="row"
    )
    return frame.select(
        "system", "versus", "protocol", "slice", "metric", "value", "low", "high", "n"
    )


def score_settings(config: Config) -> dict[str, Any]:
    """Return the settings that the scores of lists depend on."""
    pattern = dialogue_pattern(config)
    return {
        **({"dialogue": pattern} if pattern else {}),
        "list_length": config.list_length,
        **config.evaluate.identity_settings("bootstrap", "knn_posts"),
        "seed": config.seed,
        **config.line_format.identity_settings,
    }


METRICS = Step(
    stage="evaluate",
    kind="metrics",
    version=6,
    build=_build,
    config=score_settings,
    inputs=alias_inputs,
)
