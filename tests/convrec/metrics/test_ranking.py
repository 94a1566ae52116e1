"""Ranking metrics: worked examples and invariants."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convrec.metrics.hit_rate import hit_rate
from convrec.metrics.mrr import mrr
from convrec.metrics.ndcg import ndcg
from convrec.metrics.recall import recall


def hits(*ranks: int) -> np.ndarray:
    row = np.zeros((1, 20))
    row[0, [rank - 1 for rank in ranks]] = 1
    return row


def truths(count: int) -> np.ndarray:
    return np.array([count])


def test_recall_divides_by_the_whole_ground_truth() -> None:
    assert recall(hits(1, 4, 9), truths(4), 5) == pytest.approx([2 / 4])
    assert recall(hits(1, 4, 9), truths(4), 10) == pytest.approx([3 / 4])
    assert recall(hits(1, 2, 3, 4, 5), truths(8), 5) == pytest.approx([5 / 8])


def test_ndcg_worked_example() -> None:
    gain = 1 / math.log2(3) + 1 / math.log2(5)
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg(hits(2, 4), truths(3), 5) == pytest.approx([gain / ideal])


def test_ideal_list_has_at_most_k_hits() -> None:
    assert ndcg(hits(1, 2, 3, 4, 5), truths(9), 5) == pytest.approx([1.0])


def test_lengths_cut_the_ideal_list() -> None:
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg(hits(1), truths(3), 5) == pytest.approx([1 / ideal])
    assert ndcg(hits(1), truths(3), 5, lengths=np.array([1])) == pytest.approx([1.0])
    assert ndcg(hits(), truths(3), 5, lengths=np.array([0])) == pytest.approx([0.0])


def test_mrr_and_hit_rate_read_the_first_k() -> None:
    assert mrr(hits(4, 9), 5) == pytest.approx([1 / 4])
    assert mrr(hits(6), 5) == pytest.approx([0.0])
    assert hit_rate(hits(4, 9), 5).tolist() == [1.0]
    assert hit_rate(hits(6), 5).tolist() == [0.0]
    assert mrr(hits(), 20).tolist() == hit_rate(hits(), 20).tolist() == [0.0]


def test_list_shorter_than_k() -> None:
    assert ndcg(np.array([[1.0, 0.0]]), truths(1), 5) == pytest.approx([1.0])


@given(
    st.lists(st.integers(1, 20), unique=True, max_size=20),
    st.integers(0, 10),
    st.sampled_from([5, 10, 15, 20]),
)
def test_earlier_hits_never_score_lower(ranks: list[int], missed: int, k: int) -> None:
    count = truths(len(ranks) + missed or 1)
    for metric in (recall, ndcg):
        value = float(metric(hits(*ranks), count, k)[0])
        packed = float(metric(hits(*range(1, len(ranks) + 1)), count, k)[0])
        assert 0 <= value <= packed + 1e-12
        assert packed <= 1 + 1e-12


@given(st.integers(1, 40), st.sampled_from([5, 10, 15, 20]))
def test_perfect_list_has_ndcg_1(count: int, k: int) -> None:
    best = hits(*range(1, min(count, 20) + 1))
    assert ndcg(best, truths(count), k) == pytest.approx([1.0])
    assert recall(best, truths(count), k) == pytest.approx([min(k, count) / count])
