"""Lists of the held-out samples by any protocol: one value a sample, then means with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convrec.catalog.items import has_years
from convrec.metrics.bootstrap import Bootstrap
from convrec.metrics.matcher import Matcher
from convrec.metrics.protocols.per_label import Names, labels, match_per_label
from convrec.metrics.protocols.reference import match_reference
from convrec.metrics.protocols.standard import match_standard
from convrec.metrics.registry import ListBatch, ListToScore, Protocol, all_metrics, ranking_metrics
from convrec.stages.evaluate.samples import Sample, SampleList
from convrec.titles.index import TitleIndex

if TYPE_CHECKING:
    import polars as pl

    from convrec.config import Config

Values = dict[str, NDArray[np.float64]]
"""Metric → one value a sample (a pair under `per-label`), NaN where the system has no list."""


class MetricRow(NamedTuple):
    """A row of `metrics`. With `versus` it is the difference system − versus; `slice` names a part
    of the test set, None for all of it."""

    system: str
    versus: str | None
    protocol: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    slice: str | None = None


class Evaluator:
    """Judges lists of fixed samples; an interval's resamples are the same for all of them."""

    def __init__(self, samples: list[Sample], catalog: pl.DataFrame, config: Config) -> None:
        items = list(catalog.select("item_id", "title", "year").iter_rows())
        self.samples = samples
        self.index = TitleIndex(items)
        self.form = config.line_format
        self.years = self.form.years and has_years(catalog)
        self.items = len(items)
        self._titled = [(title, year) for _, title, year in items]
        self._judge = Matcher(self.index, self.form, [item_id for item_id, _, _ in items])
        self._config = config

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        """Those that can read these lists: the published code reads "Title (year)" alone."""
        if self.years and not self.form.key:
            return ("standard", "reference", "per-label")
        return ("standard", "per-label")

    def batch(self, lists: Sequence[SampleList], protocol: Protocol) -> ListBatch:
        """The lists, judged."""
        asked = [
            ListToScore(text, self.samples[at].seen, self.samples[at].ground_truth)
            for at, text in lists
        ]
        if protocol == "standard":
            n = self._config.list_length
            return match_standard(asked, self._judge, n=n, years=self.years, form=self.form)
        if protocol == "reference":
            return match_reference(asked, self._catalog)
        return match_per_label(asked, self._names)

    def values(self, lists: Sequence[SampleList], protocol: Protocol) -> Values:
        """Metrics by sample; several draws of one sample are averaged."""
        batch = self.batch(lists, protocol)
        found = all_metrics(batch) if protocol == "standard" else ranking_metrics(batch)
        at = np.array([x.sample for x in lists], dtype=np.int64)
        count = len(self.samples)
        if batch.owner is not None:
            first = self._pairs[at[batch.owner]]
            at, count = first + _position(batch.owner), int(self._pairs[-1])
        return {name: self.mean_by(at, values, count) for name, values in found.items()}

    def mean_by(
        self, at: NDArray[np.int64], values: NDArray[np.float64], count: int
    ) -> NDArray[np.float64]:
        """The mean of the values at each of `count` positions, NaN where there is none."""
        many = np.bincount(at, minlength=count).astype(np.float64)
        many[many == 0] = np.nan
        return np.asarray(np.bincount(at, weights=values, minlength=count) / many)

    def bootstrap(self, present: NDArray[np.bool_], protocol: Protocol = "standard") -> Bootstrap:
        """Resamples of the contexts of the samples (or pairs) that are `present`."""
        contexts = self._contexts(protocol)
        return Bootstrap(
            [contexts[at] for at in np.flatnonzero(present)],
            resamples=self._config.evaluate.bootstrap,
            seed=self._config.seed,
        )

    def rows(
        self,
        values: Values,
        system: str,
        versus: str | None,
        protocol: Protocol,
        part: tuple[str, NDArray[np.bool_]] | None = None,
    ) -> list[MetricRow]:
        """The mean of each metric over the samples that have all of them, with its interval.

        `part` is the name of a slice and which samples are in it.
        """
        table = np.column_stack(list(values.values()))
        present = complete(table)
        if part is not None:
            present = np.asarray(present & part[1])
        if not present.any():
            return []
        found = self.bootstrap(present, protocol).intervals(table[present])
        n, name = int(present.sum()), part[0] if part else None
        return [
            MetricRow(system, versus, protocol, metric, *interval, n, name)
            for metric, interval in zip(values, found, strict=True)
        ]

    # -- what protocols need besides the lists -------------------------------------------------

    @cached_property
    def _catalog(self) -> set[tuple[str, int | None]]:
        return set(self._titled)

    @cached_property
    def _names(self) -> Names:
        return Names(self._titled, self.form)

    @cached_property
    def _pairs(self) -> NDArray[np.int64]:
        """The first (sample, item) pair of each sample under `per-label`, then their number."""
        counts = [len(labels(s.seen, s.ground_truth, self._names)) for s in self.samples]
        return np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))

    def _contexts(self, protocol: Protocol) -> list[str]:
        contexts = [sample.context_id for sample in self.samples]
        if protocol != "per-label":
            return contexts
        counts = np.diff(self._pairs)
        return [c for c, count in zip(contexts, counts, strict=True) for _ in range(count)]


def complete(table: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows of a table have all their values."""
    return np.asarray(~np.isnan(table).any(axis=1))


def _position(owner: NDArray[np.int64]) -> NDArray[np.int64]:
    """The position of each pair among those of its list; pairs of a list stand together."""
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    lengths = np.diff(np.append(starts, len(owner)))
    return np.arange(len(owner)) - np.repeat(starts, lengths)
