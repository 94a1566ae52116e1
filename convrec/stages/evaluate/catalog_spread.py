"""How a system's lists spread over the catalog: popular or rare, many items or few.

popularity_rank, novelty   means over samples, of the catalog items of their lists
catalog_coverage           share of the catalog that is recommended to anyone
popularity_gini            how unevenly recommendations fall on the catalog's items
head_share                 share of recommendations that are of the HEAD most popular items

What is popular is counted in the ground truth of the training split; without one, only coverage and
Gini are there. Read them beside Recall: a system may gain by recommending what is popular anyway.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from convrec.metrics.novelty import novelty, self_information
from convrec.metrics.popularity import gini, head_items
from convrec.metrics.popularity_rank import popularity_rank, popularity_ranks
from convrec.stages.evaluate.evaluator import Evaluator, MetricRow
from convrec.stages.evaluate.samples import SampleList

SPREAD = ("popularity_rank", "novelty", "catalog_coverage", "popularity_gini", "head_share")


def catalog_spread_rows(
    measures: Evaluator,
    lists: Sequence[SampleList],
    system: str,
    mentions: NDArray[np.float64] | None,
) -> list[MetricRow]:
    """The SPREAD of a system; `mentions` is how often each catalog row is training ground truth."""
    items = measures.batch(lists, "standard").items
    assert items is not None
    at = np.array([x.sample for x in lists], dtype=np.int64)
    rows: list[MetricRow] = []
    if mentions is not None:
        for name, values in (
            ("popularity_rank", popularity_rank(items, popularity_ranks(mentions))),
            ("novelty", novelty(items, self_information(mentions))),
        ):
            named = ~np.isnan(values)
            by_sample = measures.mean_by(at[named], values[named], len(measures.samples))
            rows += measures.rows({name: by_sample}, system, None, "standard")
    return rows + _counted(measures, items, at, system, mentions)


def _counted(
    measures: Evaluator,
    items: NDArray[np.int64],
    at: NDArray[np.int64],
    system: str,
    mentions: NDArray[np.float64] | None,
) -> list[MetricRow]:
    """Figures of how often each item is recommended; draws of one sample share its weight."""
    from scipy.sparse import csr_matrix

    draws = np.bincount(at, minlength=len(measures.samples))
    present = draws > 0
    which, position = np.nonzero(items >= 0)
    sample = at[which]
    counts = csr_matrix(
        (1.0 / draws[sample], (sample, items[which, position])),
        shape=(len(measures.samples), measures.items),
    )[present]
    bootstrap = measures.bootstrap(present)

    def row(name: str, interval: tuple[float, float, float]) -> MetricRow:
        value, low, high = interval
        ends = max(0.0, low), min(1.0, high)  # all three are shares, or as a share
        return MetricRow(system, None, "standard", name, value, *ends, int(present.sum()))

    rows = [
        row("catalog_coverage", bootstrap.of_counts(counts, _covered)),
        row("popularity_gini", bootstrap.of_counts(counts, gini)),
    ]
    if mentions is not None:
        head = head_items(mentions)

        def share(drawn: NDArray[np.float64]) -> NDArray[np.float64]:
            total = drawn.sum(axis=-1)
            part = drawn[..., head].sum(axis=-1)
            shares = np.divide(part, total, out=np.zeros_like(total), where=total > 0)
            return np.asarray(shares)

        rows.append(row("head_share", bootstrap.of_counts(counts, share)))
    return rows


def _covered(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((counts > 0).mean(axis=-1))
