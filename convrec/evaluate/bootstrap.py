"""Percentile bootstrap over contexts: how far a figure could move if other posts had been drawn.

Samples that answer the same post share a context and are not independent, so whole contexts are
resampled (the cluster bootstrap), with the mean over samples as the estimate. Several lists drawn
for one sample are averaged before they come here. One object resamples the same contexts for every
metric and system, so that differences between systems are paired.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
_CHUNK = 1 << 22
"""Context draws held in memory at once."""


class Interval(NamedTuple):
    """An estimate and the ends of its interval."""

    value: float
    low: float
    high: float


class Bootstrap:
    """Seeded resamples of the contexts behind a fixed list of samples."""

    def __init__(self, contexts: Sequence[Hashable], *, resamples: int, seed: int) -> None:
        """`contexts` names the context of each sample; there must be at least one sample."""
        if not contexts:
            raise ValueError("a bootstrap needs at least one sample")
        positions: dict[Hashable, int] = {}
        self._context = np.array([positions.setdefault(c, len(positions)) for c in contexts])
        self._sizes = np.bincount(self._context).astype(np.float64)
        self._resamples = resamples
        self._seed = seed

    def intervals(self, values: NDArray[np.float64]) -> list[Interval]:
        """Mean over samples with its LEVEL interval, one a column of `values` (samples, metrics).

        The interval is widened to hold the estimate itself, which a percentile interval of few
        contexts may miss.
        """
        sums = np.zeros((len(self._sizes), values.shape[1]))
        np.add.at(sums, self._context, values)
        means = np.concatenate([w @ sums / (w @ self._sizes)[:, None] for w in self._weights()])
        tail = (1 - LEVEL) / 2
        lows, highs = np.quantile(means, [tail, 1 - tail], axis=0)
        estimates = values.mean(axis=0)
        return [
            Interval(float(value), float(min(low, value)), float(max(high, value)))
            for value, low, high in zip(estimates, lows, highs, strict=True)
        ]

    def _weights(self) -> Iterator[NDArray[np.float64]]:
        """How often each resample draws each context: (resamples, contexts), in chunks."""
        rng = np.random.default_rng(self._seed)
        contexts = len(self._sizes)
        rows = max(1, _CHUNK // contexts)
        for start in range(0, self._resamples, rows):
            count = min(rows, self._resamples - start)
            draws = rng.integers(contexts, size=(count, contexts))
            draws += np.arange(count)[:, None] * contexts
            weights = np.bincount(draws.ravel(), minlength=count * contexts)
            yield weights.reshape(count, contexts).astype(np.float64)
