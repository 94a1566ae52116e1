"""How a system's lists spread over the catalog: popular or rare items, few or many.

popularity_rank, novelty   mean over samples, from the catalog items of their lists
catalog_coverage           share of the catalog that is recommended at least once
popularity_gini            how unevenly recommendations are spread over the catalog
head_share                 share of recommendations that are one of the HEAD_SIZE most popular items

Popularity is counted in the ground truth of the training split; without one, only coverage and Gini
are computed. Read these metrics together with Recall: a system can gain Recall by recommending
popular items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from convrec.metrics import Floats, Ints
from convrec.metrics.head_share import head_items
from convrec.metrics.registry import CATALOG_METRICS, ITEM_METRICS, CatalogMetric
from convrec.stages.evaluate.evaluator import Evaluator, MetricRow, mean_by_position
from convrec.stages.evaluate.samples import SampleList


def catalog_spread_rows(
    evaluator: Evaluator, lists: Sequence[SampleList], system: str, mentions: Floats | None
) -> list[MetricRow]:
    """Compute ITEM_METRICS and CATALOG_METRICS; `mentions` (catalog,) counts training truths."""
    items = evaluator.match(lists, "standard").items
    assert items is not None
    samples = np.array([x.sample for x in lists], dtype=np.int64)
    rows: list[MetricRow] = []
    if mentions is not None:
        for name, metric in ITEM_METRICS.items():
            values = metric.compute(items, mentions)
            exists = ~np.isnan(values)
            by_sample = mean_by_position(samples[exists], values[exists], len(evaluator.samples))
            rows += evaluator.rows({name: by_sample}, system, None, "standard")
    return rows + _catalog_rows(evaluator, items, samples, system, mentions)


def _catalog_rows(
    evaluator: Evaluator, items: Ints, samples: Ints, system: str, mentions: Floats | None
) -> list[MetricRow]:
    """Compute CATALOG_METRICS. Several lists of one sample share its weight."""
    from scipy.sparse import csr_matrix

    draws = np.bincount(samples, minlength=len(evaluator.samples))
    present = draws > 0
    list_index, position = np.nonzero(items >= 0)
    sample = samples[list_index]
    counts = csr_matrix(
        (1.0 / draws[sample], (sample, items[list_index, position])),
        shape=(len(evaluator.samples), evaluator.catalog_size),
    )[present]
    bootstrap = evaluator.bootstrap(present)
    head = np.empty(0, dtype=np.int64) if mentions is None else head_items(mentions)
    rows = []
    for name, metric in CATALOG_METRICS.items():
        if metric.needs_training and mentions is None:
            continue
        value, low, high = bootstrap.counts_interval(counts, _statistic(metric, head))
        ends = max(0.0, low), min(1.0, high)
        rows.append(MetricRow(system, None, "standard", name, value, *ends, int(present.sum())))
    return rows


def _statistic(metric: CatalogMetric, head: Ints) -> Callable[[Floats], Floats]:
    return lambda counts: metric.compute(counts, head)
