"""The Gini coefficient of recommendations: how unevenly they are spread over the catalog."""

from __future__ import annotations

import numpy as np

from convrec.metrics import Floats


def gini(counts: Floats) -> Floats:
    """G = Σ_i (2i − n − 1)·x_(i) / (n·Σ x), x_(1) ≤ … ≤ x_(n), (..., items) -> (...).

    G is 0 if all n catalog items are recommended equally often, (n − 1)/n if one item gets every
    recommendation, and 0 if nothing is recommended. Source: Fleder and Hosanagar, "Blockbuster
    Culture's Next Rise or Fall" (Management Science, 2009).
    """
    ordered = np.sort(np.asarray(counts, dtype=np.float64), axis=-1)
    n = ordered.shape[-1]
    total = n * ordered.sum(axis=-1)
    weighted = ordered @ (2.0 * np.arange(1, n + 1) - n - 1)
    return np.asarray(np.divide(weighted, total, out=np.zeros_like(total), where=total > 0))
