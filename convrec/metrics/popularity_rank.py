"""Mean popularity rank: how well known the recommended items are.

Rank 1 is the item most often in training ground truth. The published model gained partly by popular
titles: where Recall rises while this falls, look at what was learned.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def popularity_ranks(mentions: NDArray[np.float64]) -> NDArray[np.float64]:
    """The popularity rank of each catalog item, from 1; items mentioned alike share their mean.

    `mentions` is how often each item is a training ground truth. Ranks sum to n(n + 1)/2.
    """
    from scipy.stats import rankdata

    return np.asarray(rankdata(-np.asarray(mentions), method="average"), dtype=np.float64)


def popularity_rank(items: NDArray[np.int64], ranks: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean popularity rank of each list's catalog items, NaN for a list without any.

    `items` is (lists, positions) of catalog rows, negative where a line names none; `ranks` as
    `popularity_ranks` gives them.
    """
    return mean_of_items(items, ranks)


def mean_of_items(items: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of `values`, one a catalog row, over the items of each list; NaN without any."""
    named = items >= 0
    counts = named.sum(axis=1)
    sums = np.where(named, values[np.maximum(items, 0)], 0.0).sum(axis=1)
    return np.asarray(np.divide(sums, counts, out=np.full(len(items), np.nan), where=counts > 0))
