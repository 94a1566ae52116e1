"""Hit rate by rank: the share of lists whose line at a given rank is a hit.

The curve over ranks falls slowly for a list that is ranked well to its end, and quickly for one
that is good only at the top.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def hits_at_rank(relevance: NDArray[np.float64], rank: int) -> NDArray[np.float64]:
    """Return rel_rank. Its mean over lists is the hit rate at that rank.

    Args:
        relevance: (lists, positions) 1 where a line hits a ground truth, else 0.
        rank: Rank of the line, from 1.

    Returns:
        (lists,) 0 or 1 for each list.
    """
    return relevance[:, rank - 1]
