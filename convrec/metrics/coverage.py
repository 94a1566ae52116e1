"""Catalog coverage: the share of the catalog's items that are recommended at least once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def coverage(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute |{i : x_i > 0}| / n over the n items of the catalog, n > 0.

    Args:
        counts: (..., items) How often each catalog item is recommended; 0 for items that never are.

    Returns:
        (...) The share over the last axis.
    """
    return np.asarray((counts > 0).mean(axis=-1))
