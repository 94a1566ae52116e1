"""Score lists of held-out samples by a protocol: values by sample, then means with intervals."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from itertools import compress
from typing import NamedTuple

import numpy as np
import polars as pl

from convrec.catalog.exact_matches import has_years
from convrec.config import Config
from convrec.metrics import Bools, Floats, Ints
from convrec.metrics.bootstrap import Bootstrap
from convrec.metrics.matcher import Matcher
from convrec.metrics.protocols.per_label import CatalogNames, match_per_label, target_names
from convrec.metrics.protocols.reference import match_reference
from convrec.metrics.protocols.standard import match_standard
from convrec.metrics.registry import all_metrics, ranking_metrics
from convrec.metrics.relevance import TitleAndYear
from convrec.metrics.scored_lists import EvaluationProtocol, ListBatch, ListToScore
from convrec.stages.evaluate.samples import Sample, SampleList
from convrec.stages.ingest.dialogue_ids import dialogue_ids, has_dialogues
from convrec.titles.index import TitleIndex

MetricValues = dict[str, Floats]
"""Metric → (samples,) values, (pairs,) under `per-label`; NaN if the system has no list."""


class MetricRow(NamedTuple):
    """A row of the `metrics` table.

    With `versus`, `value` is the difference system − versus. `slice` names a part of the test set,
    None for all of it.
    """

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
    """Scores lists of fixed samples. All intervals use the same resamples of posts or dialogues.

    `unit` says which: whole dialogues if the data has them, otherwise posts.
    """

    def __init__(self, samples: list[Sample], catalog: pl.DataFrame, config: Config) -> None:
        items = list(catalog.select("item_id", "title", "year").iter_rows())
        self.samples = samples
        self.unit = interval_unit(config)
        self._clusters = _sample_clusters(samples, config)
        self.index = TitleIndex(items)
        self.line_format = config.line_format
        self.years = self.line_format.has_years and has_years(catalog)
        self.catalog_size = len(items)
        self._titles = [(title, year) for _, title, year in items]
        self._matcher = Matcher(self.index, self.line_format, [item_id for item_id, _, _ in items])
        self._config = config

    @property
    def protocols(self) -> tuple[EvaluationProtocol, ...]:
        """The protocols that can parse these lists: `reference` parses only "Title (year)"."""
        if self.years and self.line_format.is_default:
            return ("standard", "reference", "per-label")
        return ("standard", "per-label")

    def match(self, lists: Sequence[SampleList], protocol: EvaluationProtocol) -> ListBatch:
        """Match lists with the ground truth of their samples."""
        to_score = [
            ListToScore(completion, self.samples[index].seen, self.samples[index].ground_truth)
            for index, completion in lists
        ]
        if protocol == "standard":
            n = self._config.list_length
            return match_standard(to_score, self._matcher, n=n, years=self.years)
        if protocol == "reference":
            return match_reference(to_score, self._catalog)
        return match_per_label(to_score, self._names)

    def values(self, lists: Sequence[SampleList], protocol: EvaluationProtocol) -> MetricValues:
        """Compute metrics by sample; several lists of one sample are averaged."""
        batch = self.match(lists, protocol)
        metrics = all_metrics(batch) if protocol == "standard" else ranking_metrics(batch)
        positions = np.array([x.sample for x in lists], dtype=np.int64)
        count = len(self.samples)
        if batch.owner is not None:
            first = self._first_pair[positions[batch.owner]]
            positions, count = first + _index_in_list(batch.owner), int(self._first_pair[-1])
        return {
            name: mean_by_position(positions, values, count) for name, values in metrics.items()
        }

    def bootstrap(self, present: Bools, protocol: EvaluationProtocol = "standard") -> Bootstrap:
        """Return resamples of the units of the `present` samples, or pairs under `per-label`."""
        clusters: Sequence[str] = self._clusters
        if protocol == "per-label":
            clusters = np.repeat(clusters, np.diff(self._first_pair)).tolist()
        return Bootstrap(
            list(compress(clusters, present)),
            resamples=self._config.evaluate.bootstrap,
            seed=self._config.seed,
        )

    def count_units(self, lists: Sequence[SampleList]) -> int:
        """Return how many posts or dialogues have a list."""
        return len({self._clusters[x.sample] for x in lists})

    def with_truths(self, ground_truths: Sequence[list[TitleAndYear]]) -> Evaluator:
        """Return this evaluator with other ground truths, for the `standard` protocol."""
        other = copy.copy(self)
        other.samples = [
            sample._replace(ground_truth=truth)
            for sample, truth in zip(self.samples, ground_truths, strict=True)
        ]
        return other

    def rows(
        self,
        values: MetricValues,
        system: str,
        versus: str | None,
        protocol: EvaluationProtocol,
        test_slice: tuple[str, Bools] | None = None,
    ) -> list[MetricRow]:
        """Average each metric over the samples that have all metrics, with intervals.

        `test_slice` is the name of a slice and the (samples,) mask of its samples.
        """
        table = np.column_stack(list(values.values()))
        present = complete_rows(table)
        if test_slice is not None:
            present = np.asarray(present & test_slice[1])
        if not present.any():
            return []
        intervals = self.bootstrap(present, protocol).intervals(table[present])
        n, name = int(present.sum()), test_slice[0] if test_slice else None
        return [
            MetricRow(system, versus, protocol, metric, *interval, n, name)
            for metric, interval in zip(values, intervals, strict=True)
        ]

    # -- what protocols need besides the lists -----------------------------------------------

    @cached_property
    def _catalog(self) -> set[tuple[str, int | None]]:
        return set(self._titles)

    @cached_property
    def _names(self) -> CatalogNames:
        return CatalogNames(self._titles, self.line_format)

    @cached_property
    def _first_pair(self) -> Ints:
        """(samples + 1,) Index of the first `per-label` pair of each sample, then their number."""
        counts = [len(target_names(s.seen, s.ground_truth, self._names)) for s in self.samples]
        return np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))


def interval_unit(config: Config) -> str:
    """Return what intervals resample: "dialogues" if the data has them, otherwise "posts"."""
    return "dialogues" if has_dialogues(config) else "posts"


def _sample_clusters(samples: Sequence[Sample], config: Config) -> list[str]:
    """(samples,) The post or dialogue of each sample."""
    ids = [(sample.sample_id, sample.context_id) for sample in samples]
    frame = pl.DataFrame(ids, {"sample_id": pl.String, "context_id": pl.String}, orient="row")
    return frame.select(dialogue_ids(config)).to_series().to_list()


def mean_by_position(positions: Ints, values: Floats, count: int) -> Floats:
    """Return (count,) the mean of the values at each position, NaN without a value."""
    counts = np.bincount(positions, minlength=count).astype(np.float64)
    counts[counts == 0] = np.nan
    return np.asarray(np.bincount(positions, weights=values, minlength=count) / counts)


def complete_rows(table: Floats) -> Bools:
    """Return (rows,) whether a row has no NaN."""
    return np.asarray(~np.isnan(table).any(axis=1))


def _index_in_list(owner: Ints) -> Ints:
    """(pairs,) Index of each pair among those of its list; pairs of a list are consecutive."""
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    lengths = np.diff(np.append(starts, len(owner)))
    return np.arange(len(owner)) - np.repeat(starts, lengths)
