from __future__ import annotations

import numpy as np

from convrec.metrics.popularity import coverage, gini, head_items, head_share


def test_gini_of_one_two_three_by_hand() -> None:
    # (2·1−4)·1 + (2·2−4)·2 + (2·3−4)·3 = −2 + 0 + 6 = 4, over 3·6
    assert np.isclose(gini(np.array([3.0, 1.0, 2.0])), 4 / 18)


def test_gini_is_zero_for_equal_and_for_no_counts_and_highest_for_one_item() -> None:
    assert gini(np.full(7, 3.0)) == 0
    assert gini(np.zeros(7)) == 0
    assert np.isclose(gini(np.array([0.0, 0, 0, 9])), 3 / 4)


def test_gini_is_half_the_relative_mean_difference() -> None:
    counts = np.random.default_rng(0).integers(0, 50, size=40).astype(float)
    pairs = np.abs(counts[:, None] - counts[None]).mean()
    assert np.isclose(gini(counts), pairs / (2 * counts.mean()))


def test_gini_of_several_rows_at_once() -> None:
    rows = np.array([[1.0, 1, 1], [0, 0, 6]])
    np.testing.assert_allclose(gini(rows), [0, 2 / 3])


def test_coverage_counts_items_listed_at_least_once() -> None:
    assert coverage(np.array([5.0, 0, 1, 0])) == 0.5
    assert coverage(np.array([])) == 0


def test_the_head_is_the_most_mentioned_ties_to_the_earlier() -> None:
    mentions = np.array([2.0, 5, 0, 2, 2])
    assert head_items(mentions, 3).tolist() == [1, 0, 3]
    assert head_items(mentions, 9).tolist() == [1, 0, 3, 4], "never mentioned is no head"


def test_head_share_by_hand() -> None:
    counts = np.array([1.0, 2, 3, 4])
    assert np.isclose(head_share(counts, np.array([0, 3])), 0.5)
    assert head_share(np.zeros(4), np.array([0])) == 0
