"""Hit rate by rank: how often the line at each rank earns a ground truth.

A list that is ranked well to its end falls slowly here; one that is good at the top only, fast.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def hits_by_rank(relevance: NDArray[np.float64], rank: int) -> NDArray[np.float64]:
    """1 where the line at `rank` (counted from 1) earns a ground truth, else 0, one value a list.

    `relevance` is (lists, positions). Its mean over lists is the hit rate at that rank.
    """
    return relevance[:, rank - 1]
