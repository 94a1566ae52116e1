"""Hit rate by rank: the share of lists whose line at a given rank is a hit.

The curve over ranks falls slowly for a list that is ranked well to its end, and quickly for one
that is good only at the top.
"""

from __future__ import annotations

from convrec.metrics import Floats


def hits_at_rank(relevance: Floats, rank: int) -> Floats:
    """rel_rank, (lists, positions) -> (lists,); ranks start at 1."""
    return relevance[:, rank - 1]
