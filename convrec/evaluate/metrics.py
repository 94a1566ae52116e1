"""The `metrics` artifact: every system on one footing, with the noise of each figure.

Rows with `versus` hold a paired difference, system − versus, on the samples that both have. Rates
belong to the lists and not to a protocol; they and the hit rates stand under `standard`. Where
lists carry no years, or are not written "Title (year)", there is no `reference`: the published code
reads no other line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convrec.artifacts import Built, Job, Step
from convrec.catalog.index import TitleIndex
from convrec.errors import InputError
from convrec.evaluate.batch import (
    PROTOCOLS,
    ListToJudge,
    Protocol,
    all_metrics,
    ranking_metrics,
)
from convrec.evaluate.bootstrap import Bootstrap
from convrec.evaluate.rates import RATES
from convrec.evaluate.reference import judge_reference
from convrec.evaluate.standard import judge_standard
from convrec.evaluate.systems import Sample, SampleList, has_years, held_out, system_lists

if TYPE_CHECKING:
    import polars as pl

    from convrec.config import Config

COMPARED = ("ndcg@20", "ndcg@5", "recall@20", "recall@5")
PAIRS = (
    ("rank_grpo", "sft"),
    ("rank_grpo", "teacher"),
    ("sft", "teacher"),
    ("sft", "adjusted"),
    ("adjusted", "teacher"),
    ("adjusted", "remapped"),
    ("remapped", "teacher"),
    ("rank_grpo", "knn"),
    ("rank_grpo", "popularity"),
)

Values = dict[str, NDArray[np.float64]]
"""Metric → one value a sample, NaN where the system has no list for it."""

Row = tuple[str, str | None, str, str, float, float, float, int]


class Measures:
    """Judges lists of the held-out samples by either protocol."""

    def __init__(self, samples: list[Sample], catalog: pl.DataFrame, config: Config) -> None:
        items = list(catalog.select("item_id", "title", "year").iter_rows())
        self.samples = samples
        self.index = TitleIndex(items)
        self._pairs = {(title, year) for _, title, year in items}
        self.form = config.line_format
        self.years = self.form.years and has_years(catalog)
        self._config = config

    def values(self, lists: Sequence[SampleList], protocol: Protocol) -> Values:
        """Metrics by sample; several draws of one sample are averaged."""
        asked = [
            ListToJudge(text, self.samples[at].seen, self.samples[at].ground_truth)
            for at, text in lists
        ]
        if protocol == "standard":
            n = self._config.list_length
            batch = judge_standard(asked, self.index, n=n, years=self.years, form=self.form)
            by_list = all_metrics(batch)
        else:
            by_list = ranking_metrics(judge_reference(asked, self._pairs))
        at = np.array([x.sample for x in lists], dtype=np.int64)
        counts = np.bincount(at, minlength=len(self.samples)).astype(np.float64)
        counts[counts == 0] = np.nan
        return {
            name: np.bincount(at, weights=values, minlength=len(self.samples)) / counts
            for name, values in by_list.items()
        }

    def rows(
        self, values: Values, system: str, versus: str | None, protocol: Protocol
    ) -> list[Row]:
        """The mean of each metric over the samples that have it, with its interval."""
        table = np.column_stack(list(values.values()))
        present = ~np.isnan(table).any(axis=1)
        if not present.any():
            return []
        contexts = [self.samples[at].context_id for at in np.flatnonzero(present)]
        bootstrap = Bootstrap(
            contexts, resamples=self._config.evaluate.bootstrap, seed=self._config.seed
        )
        found = bootstrap.intervals(table[present])
        return [
            (system, versus, protocol, metric, *interval, len(contexts))
            for metric, interval in zip(values, found, strict=True)
        ]


def metrics_json(frame: pl.DataFrame) -> dict[str, Any]:
    """The `metrics` and `comparisons` of a run's JSON file, `standard` protocol."""
    metrics: dict[str, dict[str, float]] = {}
    comparisons: list[dict[str, Any]] = []
    for row in frame.filter(frame["protocol"] == "standard").iter_rows(named=True):
        name = row["metric"]
        if row["versus"] is not None:
            between = {"a": row["system"], "b": row["versus"], "metric": name}
            found = {"diff": row["value"], "low": row["low"], "high": row["high"]}
            comparisons.append({**between, **found})
        elif "@rank" not in name:
            metrics.setdefault(row["system"], {})[name] = row["value"]
    return {"metrics": metrics, "comparisons": comparisons}


def _build(job: Job) -> Built:
    samples = held_out(job.frame("conversations"))
    if not samples:
        raise InputError(
            "the test split has no conversation with a ground truth, so nothing can be measured; "
            "look at `convrec artifacts show` of the conversations and at ingest.path"
        )
    measures = Measures(samples, job.frame("catalog"), job.config)
    lists = {
        system: made for system, made in system_lists(job, samples, measures.index).items() if made
    }
    rows: list[Row] = []
    for protocol in PROTOCOLS if measures.years and not measures.form.key else PROTOCOLS[:1]:
        values = {}
        for done, (system, made) in enumerate(lists.items()):
            job.progress(done, len(lists), f"{protocol}: {system}")
            values[system] = measures.values(made, protocol)
            rows += measures.rows(values[system], system, None, protocol)
        for system, versus in PAIRS:
            if system in values and versus in values:
                a, b = values[system], values[versus]
                difference = {name: a[name] - b[name] for name in COMPARED}
                rows += measures.rows(difference, system, versus, protocol)
    figures = {f"{r[0]} {r[3]}": round(r[4], 4) for r in rows if _headline(r)}
    return Built(metrics_frame(rows), figures)


def _headline(row: Row) -> bool:
    named = row[3] in COMPARED or row[3] in RATES
    return row[1] is None and row[2] == "standard" and named


def metrics_frame(rows: list[Row]) -> pl.DataFrame:
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
    }
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.insert_column(3, pl.Series("slice", [None] * frame.height, dtype=pl.String))


def _config(config: Config) -> dict[str, Any]:
    return {
        "list_length": config.list_length,
        "bootstrap": config.evaluate.bootstrap,
        "seed": config.seed,
        **config.line_format.key,
    }


METRICS = Step(stage="evaluate", kind="metrics", version=3, build=_build, config=_config)
