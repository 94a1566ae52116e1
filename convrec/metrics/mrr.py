"""MRR@k, the mean reciprocal rank of the first hit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mrr(relevance: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Compute the reciprocal rank 1 / (rank of the first hit). Its mean over lists is MRR@k.

    Args:
        relevance: (lists, positions) 1 where a line hits a ground truth, else 0.
        k: Number of positions that count.

    Returns:
        (lists,) Reciprocal rank of each list; 0 without a hit in the first k positions.
    """
    top = relevance[:, :k]
    first = top.argmax(axis=1)
    return np.asarray(np.where(top.any(axis=1), 1.0 / (first + 1), 0.0))
