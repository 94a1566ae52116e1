"""Novelty: how unexpected the recommended items are, in bits.

−log2 p(i), averaged over a list's items, with p(i) the share of training answers that name item i:
the mean self-information of Zhou et al., "Solving the apparent diversity-accuracy dilemma of
recommender systems" (PNAS, 2010). One is added to each item's count, so that an item that nobody
named is as novel as can be and not infinitely so.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convrec.metrics.popularity_rank import mean_of_items


def self_information(mentions: NDArray[np.float64]) -> NDArray[np.float64]:
    """−log2((m_i + 1) / Σ (m_j + 1)) of each catalog item, from its mentions m."""
    counted = np.asarray(mentions, dtype=np.float64) + 1.0
    return np.asarray(np.log2(counted.sum()) - np.log2(counted))


def novelty(items: NDArray[np.int64], bits: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean surprise, in bits, of each list's catalog items, NaN for a list without any.

    `items` is (lists, positions) of catalog rows, negative where a line names none; `bits` as
    `surprise` gives them.
    """
    return mean_of_items(items, bits)
