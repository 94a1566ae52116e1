from __future__ import annotations

import numpy as np

from convrec.metrics.coverage import coverage
from convrec.metrics.gini import gini
from convrec.metrics.head_share import head_items, head_share


def test_gini_of_one_two_three_by_hand() -> None:
    # (2·1−4)·1 + (2·2−4)·2 + (2·3−4)·3 = −2 + 0 + 6 = 4, over 3·6
    assert np.isclose(gini(np.array([3.0, 1.0, 2.0])), 4 / 18)


def test_gini_extremes() -> None:
    assert gini(np.full(7, 3.0)) == 0
    assert gini(np.zeros(7)) == 0
    assert np.isclose(gini(np.array([0.0, 0, 0, 9])), 3 / 4)


def test_gini_is_half_the_relative_mean_difference() -> None:
    counts = np.random.default_rng(0).integers(0, 50, size=40).astype(float)
    pairs = np.abs(counts[:, None] - counts[None]).mean()
    assert np.isclose(gini(counts), pairs / (2 * counts.mean()))


def test_gini_over_the_last_axis() -> None:
    rows = np.array([[1.0, 1, 1], [0, 0, 6]])
    np.testing.assert_allclose(gini(rows), [0, 2 / 3])


def test_coverage() -> None:
    assert coverage(np.array([5.0, 0, 1, 0])) == 0.5
    assert coverage(np.array([[5.0, 0], [0, 0]])).tolist() == [0.5, 0]


def test_head_items_are_the_most_mentioned() -> None:
    mentions = np.array([2.0, 5, 0, 2, 2])
    assert head_items(mentions, 3).tolist() == [1, 0, 3]
    assert head_items(mentions, 9).tolist() == [1, 0, 3, 4], "items without a mention are left out"


def test_head_share() -> None:
    counts = np.array([1.0, 2, 3, 4])
    assert np.isclose(head_share(counts, np.array([0, 3])), 0.5)
    assert head_share(np.zeros(4), np.array([0])) == 0
    np.testing.assert_allclose(head_share(np.stack([counts, 0 * counts]), np.array([0])), [0.1, 0])
