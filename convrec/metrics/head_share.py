"""Head share: the share of recommendations that goes to the most popular items (the head).

Popularity is how often an item is a ground truth of the training split (`mentions`).
"""

from __future__ import annotations

import numpy as np

from convrec.metrics import Floats, Ints

HEAD_SIZE = 50
"""Items in the head."""


def head_items(mentions: Floats, size: int = HEAD_SIZE) -> Ints:
    """Return the `size` most mentioned catalog rows, (items,) -> (≤ size,); ties by row.

    Items without a mention are left out, so a small training set can have a smaller head.
    """
    order = np.argsort(-np.asarray(mentions), kind="stable")[:size]
    return np.asarray(order[np.asarray(mentions)[order] > 0], dtype=np.int64)


def head_share(counts: Floats, head: Ints) -> Floats:
    """Σ_{i ∈ head} x_i / Σ_i x_i, (..., items) -> (...); 0 if nothing is recommended."""
    total = counts.sum(axis=-1)
    part = counts[..., head].sum(axis=-1)
    return np.asarray(np.divide(part, total, out=np.zeros_like(total), where=total > 0))
