"""Mean popularity rank of the recommended items; 1 is the most popular item.

The published model gained partly by recommending popular titles. If Recall rises while this metric
falls, the model may have learned popularity.
"""

from __future__ import annotations

import numpy as np

from convrec.metrics import Floats, Ints
from convrec.metrics.item_mean import mean_over_items


def popularity_ranks(mentions: Floats) -> Floats:
    """Rank items from 1, most mentioned first, (catalog,) -> (catalog,); ties share their mean."""
    from scipy.stats import rankdata  # loads slowly

    return np.asarray(rankdata(-np.asarray(mentions), method="average"), dtype=np.float64)


def popularity_rank(items: Ints, mentions: Floats) -> Floats:
    """Mean popularity rank of each list's items; see `mean_over_items` for the shapes."""
    return mean_over_items(items, popularity_ranks(mentions))
