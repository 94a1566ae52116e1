"""Recall@k: the share of the ground truth that the first k lines hit."""

from __future__ import annotations

import numpy as np

from convrec.metrics import Floats, Ints


def recall(relevance: Floats, truths: Ints, k: int) -> Floats:
    """Recall@k = Σ_{j≤k} rel_j / |ground truth|, (lists, positions) -> (lists,).

    The denominator `truths` (lists,) is the whole ground truth, even if it has more than k items.
    """
    return np.asarray(relevance[:, :k].sum(axis=1) / truths)
