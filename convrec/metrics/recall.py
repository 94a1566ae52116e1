"""Recall@k: the share of the ground truth that the first k lines hit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def recall(
    relevance: NDArray[np.float64], truths: NDArray[np.int64], k: int
) -> NDArray[np.float64]:
    """Compute Recall@k = Σ_{j≤k} rel_j / |ground truth|.

    The denominator is the whole ground truth, even if it has more than k items.

    Args:
        relevance: (lists, positions) 1 where a line hits a ground truth, else 0.
        truths: (lists,) Size of each ground truth, at least 1.
        k: Number of positions that count.

    Returns:
        (lists,) Recall@k of each list.
    """
    return np.asarray(relevance[:, :k].sum(axis=1) / truths)
