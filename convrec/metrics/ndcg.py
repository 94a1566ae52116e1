"""NDCG@k with binary relevance, discount 1/log2(rank + 1) and a linear gain.

DCG@k = Σ_{j≤k} rel_j / log2(j + 1). NDCG@k divides it by the DCG@k of an ideal list, and protocols
differ in that ideal list:

- `standard` and `per-label`: it has min(|ground truth|, k) hits, however long the list is (the
  common definition, as in ranx and trec_eval).
- `reference`: it has no more hits than the list has items, as in the published Rank-GRPO code. A
  short list then scores higher than it should. Pass `lengths` for this variant.
"""

from __future__ import annotations

import numpy as np

from convrec.metrics import Floats, Ints


def ndcg(relevance: Floats, truths: Ints, k: int, lengths: Ints | None = None) -> Floats:
    """NDCG@k, (lists, positions) -> (lists,); 0 if the ideal list is empty.

    `truths` (lists,) are the sizes of the ground truths; `lengths` (lists,) cut the ideal lists.
    """
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    gains = relevance[:, :k] @ discounts[: relevance.shape[1]]
    ideal_hits = np.minimum(truths, k)
    if lengths is not None:
        ideal_hits = np.minimum(ideal_hits, lengths)
    ideal = np.concatenate(([0.0], np.cumsum(discounts)))[ideal_hits]
    return np.divide(gains, ideal, out=np.zeros_like(ideal), where=ideal > 0)
