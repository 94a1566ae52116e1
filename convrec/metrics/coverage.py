"""Catalog coverage: the share of the catalog's items that are recommended at least once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def coverage(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """|{i : x_i > 0}| / n from the counts x of all n catalog items, (..., items) -> (...)."""
    return np.asarray((counts > 0).mean(axis=-1))
