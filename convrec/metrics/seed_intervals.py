"""Confidence intervals of trainings over samples and seeds: a two-level bootstrap.

A resample draws posts or dialogues as `Bootstrap` does, and seeds. From S seeds it draws S − 1
with replacement, because S draws would understate the variance of a mean by the factor (S − 1) / S
(Rao & Wu 1988, doi 10.1080/01621459.1988.10478591). With one seed, an interval covers samples only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from convrec.metrics import Floats
from convrec.metrics.bootstrap import QUANTILES, Bootstrap, Interval


def seed_intervals(
    bootstrap: Bootstrap, system: Sequence[Floats], versus: Sequence[Floats] = (), *, seed: int
) -> list[Interval]:
    """The mean of each metric over samples and seeds with its interval, or system − versus.

    Each sequence has the values (samples, metrics) of one seed's training; both are of the same
    samples, which a resample draws for both. Their seeds are drawn independently.
    """
    estimates = _mean(system)
    resampled = _resampled(bootstrap, system, np.random.default_rng((seed, 0)))
    if versus:
        estimates = estimates - _mean(versus)
        resampled = resampled - _resampled(bootstrap, versus, np.random.default_rng((seed, 1)))
    lows, highs = np.quantile(resampled, QUANTILES, axis=0)
    return [
        Interval(float(value), float(min(low, value)), float(max(high, value)))
        for value, low, high in zip(estimates, lows, highs, strict=True)
    ]


def _mean(runs: Sequence[Floats]) -> Floats:
    return np.asarray(np.mean([values.mean(axis=0) for values in runs], axis=0))


def _resampled(bootstrap: Bootstrap, runs: Sequence[Floats], rng: np.random.Generator) -> Floats:
    """(resamples, metrics) The mean over the drawn seeds in each resample of the samples."""
    means = np.stack([bootstrap.resampled_means(values) for values in runs])
    seeds, resamples = means.shape[:2]
    drawn = rng.integers(seeds, size=(max(1, seeds - 1), resamples))
    return np.asarray(means[drawn, np.arange(resamples)].mean(axis=0))
