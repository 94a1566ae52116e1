"""Recall@k: the share of the ground truth that the first k positions earn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def recall(
    relevance: NDArray[np.float64], truths: NDArray[np.int64], k: int
) -> NDArray[np.float64]:
    """Σ_{j≤k} rel_j / |ground truth|, one value a list.

    `relevance` is (lists, positions) of 0 and 1, `truths` (lists,) the sizes of the ground truth,
    each at least 1. The denominator is the whole ground truth, also where it is larger than k.
    """
    return np.asarray(relevance[:, :k].sum(axis=1) / truths)
