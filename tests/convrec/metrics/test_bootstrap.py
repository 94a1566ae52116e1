"""Bootstrap intervals: seeded, by context, and of the right width."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from convrec.metrics.bootstrap import Bootstrap


def test_estimate_is_mean_over_samples() -> None:
    values = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 3.0]])
    found = Bootstrap(["a", "a", "b"], resamples=200, seed=0).intervals(values)
    assert [x.value for x in found] == pytest.approx([1 / 3, 1.0])
    assert [x.low <= x.value <= x.high for x in found] == [True, True]


def test_interval_depends_on_the_seed_only() -> None:
    values = np.random.default_rng(0).random((50, 1))
    contexts = list(range(50))
    first = Bootstrap(contexts, resamples=300, seed=4).intervals(values)
    assert Bootstrap(contexts, resamples=300, seed=4).intervals(values) == first
    assert Bootstrap(contexts, resamples=300, seed=5).intervals(values) != first


def test_intervals_cover_the_true_mean() -> None:
    rng = np.random.default_rng(1)
    values = rng.exponential(size=(60, 300))
    found = Bootstrap(range(60), resamples=500, seed=2).intervals(values)
    covered = np.mean([x.low <= 1.0 <= x.high for x in found])
    assert 0.88 <= covered <= 0.98


def test_repeated_contexts_do_not_narrow_the_interval() -> None:
    values = np.random.default_rng(3).random((40, 1))
    single = Bootstrap(range(40), resamples=500, seed=0).intervals(values)[0]
    repeated = Bootstrap([k for k in range(40) for _ in range(5)], resamples=500, seed=0).intervals(
        np.repeat(values, 5, axis=0)
    )[0]
    assert repeated == pytest.approx(single)


def test_constant_difference_has_zero_width() -> None:
    values = np.random.default_rng(5).random((30, 1))
    found = Bootstrap(range(30), resamples=100, seed=0).intervals((values + 0.1) - values)[0]
    assert (found.low, found.high) == pytest.approx((0.1, 0.1))


def test_no_sample_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Bootstrap([], resamples=10, seed=0)


def test_grouped_contexts_give_a_similar_interval(monkeypatch: Any) -> None:
    values = np.random.default_rng(7).random((4000, 1))
    whole = Bootstrap(range(4000), resamples=400, seed=0).intervals(values)[0]
    monkeypatch.setattr("convrec.metrics.bootstrap.MAX_CLUSTERS", 500)
    grouped = Bootstrap(range(4000), resamples=400, seed=0).intervals(values)[0]
    assert grouped.value == whole.value
    assert grouped.high - grouped.low == pytest.approx(whole.high - whole.low, rel=0.15)


def test_detectable_difference_has_power_0_8() -> None:
    rng = np.random.default_rng(8)
    noise = rng.normal(size=(200, 400))
    size = Bootstrap(range(200), resamples=500, seed=0).detectable_differences(noise[:, :1])[0]
    assert size == pytest.approx(2.8 / 200**0.5, rel=0.15)
    found = Bootstrap(range(200), resamples=500, seed=1).intervals(noise + size)
    assert 0.68 <= np.mean([x.low > 0 for x in found]) <= 0.92


def test_counts_interval_contains_the_estimate() -> None:
    rng = np.random.default_rng(9)
    counts = csr_matrix(rng.random((80, 50)) < 0.05, dtype=np.float64)
    boot = Bootstrap(range(80), resamples=300, seed=0)
    found = boot.counts_interval(counts, lambda drawn: (drawn > 0).mean(axis=1))
    assert found.value == pytest.approx((counts.sum(axis=0) > 0).mean())
    assert found.low < found.value < found.high
