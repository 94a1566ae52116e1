"""The registry of metrics. A new metric is one file in `convrec/metrics/` and one entry here.

RANKING_METRICS   of one list at a cutoff k, from its hits: Recall, NDCG, MRR, hit rate
ITEM_METRICS      of one list, from the popularity of its catalog items
CATALOG_METRICS   of all lists of a system together, from how often each item is recommended

`convrec score`, the `metrics` artifact, the run's JSON and the report take their metrics from these
tables. Metrics of the form of a list (shares of repeats, of unknown titles, ...) are in
`list_quality`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from convrec.metrics import Floats, Ints
from convrec.metrics.coverage import coverage
from convrec.metrics.gini import gini
from convrec.metrics.head_share import HEAD_SIZE, head_share
from convrec.metrics.hit_rate import hit_rate
from convrec.metrics.hits_by_rank import hits_at_rank
from convrec.metrics.mrr import mrr
from convrec.metrics.ndcg import ndcg
from convrec.metrics.novelty import novelty
from convrec.metrics.popularity_rank import popularity_rank
from convrec.metrics.recall import recall
from convrec.metrics.scored_lists import CUTOFFS, WIDTH, ListBatch


@dataclass(frozen=True)
class RankingMetric:
    """A metric of one list at a cutoff, reported as `name@k` for every k of CUTOFFS.

    The report shows `report_cutoffs` only. The `reference` protocol computes only metrics that are
    `in_reference`, which are those of the published Rank-GRPO code.
    """

    compute: Callable[[ListBatch, int], Floats]
    label: str
    report_cutoffs: tuple[int, ...] = ()
    in_reference: bool = False


@dataclass(frozen=True)
class ItemMetric:
    """A metric of the catalog items of one list; `label` and `decimals` are for the report.

    `compute` maps items (lists, N) and mentions (catalog,) to (lists,), NaN for a list without a
    catalog item. Items are catalog rows, negative for a line without one; mentions count how often
    each item is a training ground truth.
    """

    compute: Callable[[Ints, Floats], Floats]
    label: str
    decimals: int = 3


@dataclass(frozen=True)
class CatalogMetric:
    """A metric of all lists of a system, between 0 and 1.

    `compute` maps counts (resamples, catalog), how often each item is recommended, and the rows of
    the most popular items (`head`) to (resamples,). If it `needs_training`, it reads the head and
    is left out without a training ground truth.
    """

    compute: Callable[[Floats, Ints], Floats]
    label: str
    needs_training: bool = False


RANKING_METRICS = {
    "recall": RankingMetric(
        lambda batch, k: recall(batch.relevance, batch.truths, k),
        label="Recall",
        report_cutoffs=(5, 20),
        in_reference=True,
    ),
    "ndcg": RankingMetric(
        lambda batch, k: ndcg(batch.relevance, batch.truths, k, batch.lengths),
        label="NDCG",
        report_cutoffs=(5, 20),
        in_reference=True,
    ),
    "mrr": RankingMetric(
        lambda batch, k: mrr(batch.relevance, k), label="MRR", report_cutoffs=(20,)
    ),
    "hit": RankingMetric(lambda batch, k: hit_rate(batch.relevance, k), label="Hit"),
}

ITEM_METRICS = {
    "popularity_rank": ItemMetric(popularity_rank, label="popularity rank", decimals=1),
    "novelty": ItemMetric(novelty, label="novelty, bits"),
}

CATALOG_METRICS = {
    "catalog_coverage": CatalogMetric(lambda counts, head: coverage(counts), "catalog coverage"),
    "popularity_gini": CatalogMetric(lambda counts, head: gini(counts), "popularity Gini"),
    "head_share": CatalogMetric(head_share, f"top-{HEAD_SIZE} share", needs_training=True),
}


def list_cutoff(list_length: int) -> int:
    """The cutoff that a whole list is measured at: its length, at most WIDTH."""
    return min(list_length, WIDTH)


def ranking_metrics(batch: ListBatch) -> dict[str, Floats]:
    """Return `recall@5` ... `hit@20` → (rows,) one value for each row of the batch."""
    is_reference = batch.lengths is not None
    return {
        f"{name}@{k}": metric.compute(batch, k)
        for k in CUTOFFS
        for name, metric in RANKING_METRICS.items()
        if metric.in_reference or not is_reference
    }


def all_metrics(batch: ListBatch) -> dict[str, Floats]:
    """Return ranking metrics, list quality, and `hit_rate@rank1` ... → (rows,)."""
    by_rank = {f"hit_rate@rank{j}": hits_at_rank(batch.relevance, j) for j in range(1, WIDTH + 1)}
    return {**ranking_metrics(batch), **batch.quality, **by_rank}
