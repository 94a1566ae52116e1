"""The `metrics` artifact: every system on one footing, with the noise of each figure.

Rows with `versus` compare two systems on the samples that both have (see
`convrec.stages.evaluate.paired`), rows with `slice` speak of a part of the test set. Rates, and how
lists spread over the catalog, belong to the lists and not to a protocol; they and the hit rates by
rank stand under `standard`. Where lists carry no years, or are not written "Title (year)", there is
no `reference`: the published code reads no other line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from convrec.artifacts import StepResult
from convrec.errors import InputError
from convrec.metrics.list_quality import RATES
from convrec.stages.base import Step, StepContext
from convrec.stages.evaluate.baselines import choose_k, read_training
from convrec.stages.evaluate.catalog_spread import catalog_spread_rows
from convrec.stages.evaluate.evaluator import Evaluator, MetricRow, Values
from convrec.stages.evaluate.paired import COMPARED, DETECTABLE, OUTCOMES, paired_rows
from convrec.stages.evaluate.samples import held_out
from convrec.stages.evaluate.slices import SLICED, slices
from convrec.stages.evaluate.systems import system_lists

if TYPE_CHECKING:
    import polars as pl

    from convrec.config import Config

NEIGHBOURS = "knn neighbours"
"""The figure of the artifact that says which k was chosen for kNN."""

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
    ("checkpoint", "sft"),
    ("checkpoint", "rank_grpo"),
    ("checkpoint", "teacher"),
    ("checkpoint", "knn"),
)
"""What is compared, where both are there."""


def metrics_json(frame: pl.DataFrame) -> dict[str, Any]:
    """The `metrics` and `comparisons` of a run's JSON file, `standard` protocol, all samples.

    A comparison holds the shares of wins, ties and losses and the detectable difference, too.
    """
    metrics: dict[str, dict[str, float]] = {}
    comparisons: dict[tuple[str, str, str], dict[str, Any]] = {}
    whole = frame.filter((frame["protocol"] == "standard") & frame["slice"].is_null())
    for row in whole.iter_rows(named=True):
        name = row["metric"]
        if row["versus"] is not None:
            more, _, metric = name.rpartition(" ")
            names = (row["system"], row["versus"], metric)
            found = comparisons.setdefault(
                names, dict(zip(("a", "b", "metric"), names, strict=True))
            )
            if more in (*OUTCOMES, DETECTABLE):
                found[more] = row["value"]
            else:
                found |= {"diff": row["value"], "low": row["low"], "high": row["high"]}
        elif "@rank" not in name:
            metrics.setdefault(row["system"], {})[name] = row["value"]
    return {"metrics": metrics, "comparisons": list(comparisons.values())}


def _build(ctx: StepContext) -> StepResult:
    samples = held_out(ctx.frame("conversations"))
    if not samples:
        raise InputError(
            "the test split has no conversation with a ground truth, so nothing can be measured; "
            "look at `convrec artifacts show` of the conversations and at ingest.path"
        )
    measures = Evaluator(samples, ctx.frame("catalog"), ctx.config)
    training = read_training(ctx.frame("conversations"), ctx.frame("catalog"))
    k = choose_k(training, held_out(ctx.frame("conversations"), "validation")) if training else 0
    made_lists = system_lists(ctx, samples, measures.index, k)
    lists = {system: made for system, made in made_lists.items() if made}
    parts = slices(samples, training)
    mentions = training.mentions if training else None
    rows: list[MetricRow] = []
    for protocol in measures.protocols:
        values: dict[str, Values] = {}
        for done, (system, made) in enumerate(lists.items()):
            ctx.progress(done, len(lists), f"{protocol}: {system}")
            values[system] = measures.values(made, protocol)
            rows += measures.rows(values[system], system, None, protocol)
            if protocol == "standard":
                rows += catalog_spread_rows(measures, made, system, mentions)
                sliced = {name: values[system][name] for name in SLICED}
                for part in parts.items():
                    rows += measures.rows(sliced, system, None, protocol, part)
        for a, b in PAIRS:
            if a in values and b in values:
                rows += paired_rows(measures, values[a], values[b], (a, b), protocol)
    figures = {f"{r.system} {r.metric}": round(r.value, 4) for r in rows if _headline(r)}
    return StepResult(metrics_frame(rows), {**figures, NEIGHBOURS: k})


def _headline(row: MetricRow) -> bool:
    whole = row.versus is None and row.slice is None and row.protocol == "standard"
    return whole and (row.metric in COMPARED or row.metric in RATES)


def metrics_frame(rows: Sequence[MetricRow]) -> pl.DataFrame:
    """Rows as the warehouse keeps them."""
    import polars as pl

    schema = {
        "system": pl.String,
        "versus": pl.String,
        "protocol": pl.String,
        "metric": pl.String,
        "value": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "n": pl.Int32,
        "slice": pl.String,
    }
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.select(
        "system", "versus", "protocol", "slice", "metric", "value", "low", "high", "n"
    )


def _config(config: Config) -> dict[str, Any]:
    return {
        "list_length": config.list_length,
        "bootstrap": config.evaluate.bootstrap,
        "seed": config.seed,
        **config.line_format.key,
    }


METRICS = Step(stage="evaluate", kind="metrics", version=5, build=_build, config=_config)
