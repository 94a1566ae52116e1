"""The mean of a value of catalog items over the items of a list: the base of item metrics."""

from __future__ import annotations

import numpy as np

from convrec.metrics import Floats, Ints


def mean_over_items(items: Ints, values: Floats) -> Floats:
    """Average `values` (catalog,) over the items of each list, (lists, positions) -> (lists,).

    `items` are catalog rows, negative for a line without one. A list without an item gets NaN.
    """
    in_catalog = items >= 0
    counts = in_catalog.sum(axis=1)
    sums = np.where(in_catalog, values[np.maximum(items, 0)], 0.0).sum(axis=1)
    return np.asarray(np.divide(sums, counts, out=np.full(len(items), np.nan), where=counts > 0))
