"""Hit@k, the hit rate: the share of lists with any hit among the first k positions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def hit(relevance: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """1 where one of the first k positions hits, else 0, one value a list.

    `relevance` is (lists, positions) of 0 and 1. The mean over lists is the hit rate at k; with one
    ground truth a list it equals Recall@k.
    """
    return np.asarray(relevance[:, :k].any(axis=1), dtype=np.float64)
