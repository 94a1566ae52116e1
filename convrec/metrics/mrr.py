"""MRR@k, the mean reciprocal rank: how far one reads until the first hit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mrr(relevance: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """1 / rank of the first of the first k positions that hits, 0 without any, one value a list.

    `relevance` is (lists, positions) of 0 and 1. The mean over lists is MRR@k.
    """
    first = relevance[:, :k]
    found = first.argmax(axis=1)
    return np.asarray(np.where(first.any(axis=1), 1.0 / (found + 1), 0.0))
