"""NDCG@k with binary relevance: how early the first k positions earn the ground truth.

DCG@k = Σ_{j≤k} rel_j / log2(j + 1), divided by the DCG of the best list there could be. Which best
list is where protocols differ. `standard` allows min(|ground truth|, k) hits, whatever the list's
length. The published code allows no more hits than the list has items, so that a short list scores
higher than it should; `lengths` asks for that reading, and only `reference` does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def ndcg(
    relevance: NDArray[np.float64],
    truths: NDArray[np.int64],
    k: int,
    lengths: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """DCG@k over the ideal DCG@k, one value a list; 0 where the ideal list is empty.

    `relevance` is (lists, positions) of 0 and 1, `truths` (lists,) the sizes of the ground truth,
    `lengths` (lists,) cuts the ideal list at the list's own length.
    """
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    gains = relevance[:, :k] @ discounts[: relevance.shape[1]]
    hits = np.minimum(truths, k)
    if lengths is not None:
        hits = np.minimum(hits, lengths)
    ideal = np.concatenate(([0.0], np.cumsum(discounts)))[hits]
    return np.divide(gains, ideal, out=np.zeros_like(ideal), where=ideal > 0)
