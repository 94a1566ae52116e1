"""Popularity rank and novelty of four items, mentioned 7, 3, 3 and 0 times."""

from __future__ import annotations

import numpy as np
import pytest

from convrec.metrics.novelty import novelty, self_information
from convrec.metrics.popularity_rank import popularity_rank, popularity_ranks

MENTIONS = np.array([7.0, 3.0, 3.0, 0.0])
LISTS = np.array([[0, 3, -1], [1, 2, 2], [-1, -1, -1]])


def test_ties_share_their_mean_rank() -> None:
    assert popularity_ranks(MENTIONS).tolist() == [1.0, 2.5, 2.5, 4.0]


def test_lines_outside_the_catalog_do_not_count() -> None:
    found = popularity_rank(LISTS, MENTIONS)
    assert found[:2].tolist() == [2.5, 2.5]
    assert np.isnan(found[2])


def test_novelty_is_in_bits() -> None:
    # 13 mentions plus one for each item are 17: 8, 4, 4 and 1
    bits = self_information(MENTIONS)
    assert bits.tolist() == pytest.approx(np.log2([17 / 8, 17 / 4, 17 / 4, 17]))
    found = novelty(LISTS, MENTIONS)
    assert found[0] == pytest.approx((np.log2(17 / 8) + np.log2(17)) / 2)
    assert found[1] == pytest.approx(np.log2(17 / 4))
    assert np.isnan(found[2])
