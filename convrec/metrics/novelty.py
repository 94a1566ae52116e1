"""Novelty: the mean self-information of the recommended items, in bits.

−log2 p(i) averaged over a list's items, where p(i) is the share of training answers that name item
i. Each item counts one mention more, so the novelty of an item without mentions is finite.

Source: Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender systems"
(PNAS, 2010).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convrec.metrics.item_mean import mean_over_items


def self_information(mentions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute −log2((m_i + 1) / Σ_j (m_j + 1)) from the mentions m.

    Args:
        mentions: (catalog,) How often each catalog item is a training ground truth.

    Returns:
        (catalog,) Self-information of each item, in bits.
    """
    counts = np.asarray(mentions, dtype=np.float64) + 1.0
    return np.asarray(np.log2(counts.sum()) - np.log2(counts))


def novelty(items: NDArray[np.int64], mentions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average the self-information over the catalog items of each list.

    Args:
        items: (lists, positions) Catalog row of each line; negative if it has no catalog item.
        mentions: (catalog,) How often each catalog item is a training ground truth.

    Returns:
        (lists,) The mean for each list, in bits; NaN for a list without a catalog item.
    """
    return mean_over_items(items, self_information(mentions))
