"""Novelty: the mean self-information of the recommended items, in bits.

−log2 p(i) averaged over a list's items, where p(i) is the share of training answers that name item
i. Each item counts one mention more, so the novelty of an item without mentions is finite.

Source: Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender systems"
(PNAS, 2010).
"""

from __future__ import annotations

import numpy as np

from convrec.metrics import Floats, Ints
from convrec.metrics.item_mean import mean_over_items


def self_information(mentions: Floats) -> Floats:
    """−log2((m_i + 1) / Σ_j (m_j + 1)) in bits, from the mentions m (catalog,)."""
    counts = np.asarray(mentions, dtype=np.float64) + 1.0
    return np.asarray(np.log2(counts.sum()) - np.log2(counts))


def novelty(items: Ints, mentions: Floats) -> Floats:
    """Mean self-information of each list's items; see `mean_over_items` for the shapes."""
    return mean_over_items(items, self_information(mentions))
