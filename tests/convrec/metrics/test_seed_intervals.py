from __future__ import annotations

import numpy as np
import pytest

from convrec.metrics.bootstrap import Bootstrap
from convrec.metrics.seed_intervals import seed_intervals


def samples(bases: list[float], count: int = 200, spread: float = 0.1) -> list[np.ndarray]:
    """Values (samples, 1) of one seed for each base; the noise of a sample is shared by seeds."""
    noise = np.random.default_rng(0).normal(0, spread, size=(count, 1))
    return [base + noise - noise.mean() for base in bases]


def bootstrap(count: int = 200) -> Bootstrap:
    return Bootstrap(range(count), resamples=4000, seed=3)


def test_one_seed_has_the_interval_of_its_samples() -> None:
    (values,) = samples([0.5])
    assert seed_intervals(bootstrap(), [values], seed=1) == bootstrap().intervals(values)


@pytest.mark.parametrize("bases", [[0.4, 0.6], [0.4, 0.5, 0.6], [0.3, 0.4, 0.5, 0.6, 0.7]])
def test_seeds_widen_the_interval_by_their_variance(bases: list[float]) -> None:
    runs = samples(bases, spread=0.0)  # no variance of samples
    drawn = np.random.default_rng((1, 0)).integers(len(bases), size=(len(bases) - 1, 4000))
    variance = np.array(bases)[drawn].mean(axis=0).var()
    assert variance == pytest.approx(np.var(bases, ddof=1) / len(bases), rel=0.1)
    (found,) = seed_intervals(bootstrap(), runs, seed=1)
    assert found.value == pytest.approx(0.5)
    assert found.high - found.low > 2 * np.sqrt(variance)


def test_a_difference_shares_the_samples_and_not_the_seeds() -> None:
    system, versus = samples([0.55, 0.55], spread=1.0), samples([0.5], spread=1.0)
    (found,) = seed_intervals(bootstrap(), system, versus, seed=1)
    assert found.value == pytest.approx(0.05)
    assert (found.low, found.high) == pytest.approx((0.05, 0.05))  # the noise cancels
    apart = samples([0.45, 0.65], spread=1.0)
    (found,) = seed_intervals(bootstrap(), apart, versus, seed=1)
    assert (found.low, found.high) == pytest.approx((-0.05, 0.15))
    (found,) = seed_intervals(bootstrap(), apart, apart, seed=1)
    assert (found.value, found.low, found.high) == pytest.approx((0.0, -0.2, 0.2))


def test_an_interval_holds_its_estimate() -> None:
    runs = samples([0.1, 0.2, 0.9], count=3)
    (found,) = seed_intervals(bootstrap(3), runs, seed=1)
    assert found.low <= found.value <= found.high
