"""The mean of a value of catalog items over the items of a list: the base of item metrics."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mean_over_items(items: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average `values` over the catalog items of each list.

    Args:
        items: (lists, positions) Catalog row of each line; negative if it has no catalog item.
        values: (catalog,) A value for each catalog item.

    Returns:
        (lists,) The mean for each list; NaN for a list without a catalog item.
    """
    in_catalog = items >= 0
    counts = in_catalog.sum(axis=1)
    sums = np.where(in_catalog, values[np.maximum(items, 0)], 0.0).sum(axis=1)
    return np.asarray(np.divide(sums, counts, out=np.full(len(items), np.nan), where=counts > 0))
