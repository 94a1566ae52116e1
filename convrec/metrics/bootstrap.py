"""Percentile bootstrap over contexts: how far a figure could move if other posts had been drawn.

Samples that answer the same post share a context and are not independent, so whole contexts are
resampled (the cluster bootstrap), with the mean over samples as the estimate. Several lists drawn
for one sample are averaged before they come here. One object resamples the same contexts for every
metric and system, so that differences between systems are paired.

Beyond MOST contexts, contexts are put into MOST groups at random and the groups resampled: sums of
independent contexts are independent too, and a million lists cost no more than MOST. The estimate
stays that over all samples.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

LEVEL = 0.95
MOST = 20_000
"""Contexts that are resampled one by one."""

Z = 1.959964
"""Standard errors to each side of a LEVEL interval, where sums are normal."""

POWER_Z = 0.841621
"""Standard errors more, to see a difference with a power of 0.8."""

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
        if len(positions) > MOST:
            group = np.random.default_rng(seed).permutation(len(positions)) % MOST
            self._context = group[self._context]
        self._sizes = np.bincount(self._context).astype(np.float64)
        self._resamples = resamples
        self._seed = seed

    def intervals(self, values: NDArray[np.float64]) -> list[Interval]:
        """Mean over samples with its LEVEL interval, one a column of `values` (samples, metrics).

        The interval is widened to hold the estimate itself, which a percentile interval of few
        contexts may miss.
        """
        means = self._means(values)
        tail = (1 - LEVEL) / 2
        lows, highs = np.quantile(means, [tail, 1 - tail], axis=0)
        estimates = values.mean(axis=0)
        return [
            Interval(float(value), float(min(low, value)), float(max(high, value)))
            for value, low, high in zip(estimates, lows, highs, strict=True)
        ]

    def errors(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The standard error of each column's mean: the spread of its resampled means."""
        return np.asarray(self._means(values).std(axis=0))

    def detectable(self, differences: NDArray[np.float64]) -> NDArray[np.float64]:
        """The minimum detectable difference of each column of paired differences.

        A true difference of this size would be seen, as an interval that leaves out zero, with
        probability 0.8 in a test of this size: (Z + POWER_Z) standard errors. A smaller one may
        be there and not be seen.
        """
        return (Z + POWER_Z) * self.errors(differences)

    def of_counts(
        self, counts: csr_matrix, measure: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    ) -> Interval:
        """A figure of summed counts, as coverage or Gini, with its interval.

        `counts` is (samples, items), `measure` maps (resamples, items) to one value a row. A
        resample holds fewer different contexts, so it covers less than the test set does: only the
        spread of the resampled values is used, moved to the estimate.
        """
        from scipy.sparse import csr_matrix

        ones = np.ones(len(self._context))
        shape = (len(self._sizes), len(self._context))
        by_context = csr_matrix((ones, (self._context, np.arange(len(ones)))), shape=shape) @ counts
        value = float(measure(np.asarray(counts.sum(axis=0), dtype=np.float64))[0])
        found = np.concatenate([measure(drawn) for drawn in self._drawn(by_context)])
        tail = (1 - LEVEL) / 2
        low, high = np.quantile(found - found.mean(), [tail, 1 - tail])
        return Interval(value, value + min(0.0, float(low)), value + max(0.0, float(high)))

    def _means(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(resamples, metrics): the mean of each column over each resample."""
        sums = np.zeros((len(self._sizes), values.shape[1]))
        for column in range(values.shape[1]):
            sums[:, column] = np.bincount(
                self._context, weights=values[:, column], minlength=len(sums)
            )
        return np.concatenate([w @ sums / (w @ self._sizes)[:, None] for w in self._weights()])

    def _drawn(self, by_context: csr_matrix) -> Iterator[NDArray[np.float64]]:
        """The summed counts of each resample: (resamples, items), in chunks."""
        for weights in self._weights():
            parts = 1 + len(weights) * by_context.shape[1] // _CHUNK
            for part in np.array_split(weights, parts):
                yield np.asarray(part @ by_context)

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
