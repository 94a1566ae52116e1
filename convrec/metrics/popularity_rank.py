"""Mean popularity rank of the recommended items; 1 is the most popular item.

The published model gained partly by recommending popular titles. If Recall rises while this metric
falls, the model may have learned popularity.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convrec.metrics.item_mean import mean_over_items


def popularity_ranks(mentions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank catalog items by their mentions; items with equal mentions share their mean rank.

    Args:
        mentions: (catalog,) How often each catalog item is a training ground truth.

    Returns:
        (catalog,) Ranks from 1, most mentioned first. They sum to n(n + 1)/2.
    """
    from scipy.stats import rankdata  # loads slowly

    return np.asarray(rankdata(-np.asarray(mentions), method="average"), dtype=np.float64)


def popularity_rank(items: NDArray[np.int64], mentions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average the popularity rank over the catalog items of each list.

    Args:
        items: (lists, positions) Catalog row of each line; negative if it has no catalog item.
        mentions: (catalog,) How often each catalog item is a training ground truth.

    Returns:
        (lists,) The mean rank for each list; NaN for a list without a catalog item.
    """
    return mean_over_items(items, popularity_ranks(mentions))
