"""Hit@k, the hit rate: the share of lists with at least one hit in the first k lines."""

from __future__ import annotations

import numpy as np

from convrec.metrics import Floats


def hit_rate(relevance: Floats, k: int) -> Floats:
    """Hit@k = 1 if max_{j≤k} rel_j > 0, else 0, (lists, positions) -> (lists,).

    With one ground truth for each list it equals Recall@k.
    """
    return np.asarray(relevance[:, :k].any(axis=1), dtype=np.float64)
