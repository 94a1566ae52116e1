"""MRR@k, the mean reciprocal rank of the first hit."""

from __future__ import annotations

import numpy as np

from convrec.metrics import Floats


def mrr(relevance: Floats, k: int) -> Floats:
    """1 / (rank of the first hit), 0 without one in the first k, (lists, positions) -> (lists,)."""
    top = relevance[:, :k]
    first = top.argmax(axis=1)
    return np.asarray(np.where(top.any(axis=1), 1.0 / (first + 1), 0.0))
