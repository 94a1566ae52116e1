"""Percentile bootstrap over clusters: confidence intervals of means over samples.

Samples that answer the same post, and turns of the same dialogue, are not independent, so whole
posts or dialogues are resampled (a cluster bootstrap). The estimate is the mean over samples. If a
sample has several generated lists, average them first. One `Bootstrap` draws the same resamples for
every metric and system, so differences between systems are paired.

With more than MAX_CLUSTERS clusters, clusters are assigned at random to MAX_CLUSTERS groups, and
groups are resampled: sums of independent clusters are independent, too. This bounds the cost; the
estimate is still the mean over all samples.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from convrec.metrics import Floats

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix  # loads slowly

CONFIDENCE = 0.95
"""Level of every interval."""

QUANTILES = ((1 - CONFIDENCE) / 2, 1 - (1 - CONFIDENCE) / 2)
"""The ends of an interval, as quantiles of resampled values."""

MAX_CLUSTERS = 20_000
"""Number of clusters up to which each is resampled by itself."""

CONFIDENCE_Z = 1.959964
"""Half-width of a normal interval of level CONFIDENCE, in standard errors."""

POWER_Z = 0.841621
"""Standard errors to add for a power of 0.8."""

_MAX_DRAWS = 1 << 22
"""Cluster draws held in memory at once."""


class Interval(NamedTuple):
    """An estimate and the ends of its confidence interval."""

    value: float
    low: float
    high: float


class Bootstrap:
    """Seeded resamples of the clusters of a fixed list of samples.

    `clusters` is the post or dialogue of each sample. Raises ValueError without a sample.
    """

    def __init__(self, clusters: Sequence[Hashable], *, resamples: int, seed: int) -> None:
        if not clusters:
            raise ValueError("a bootstrap needs at least one sample")
        positions: dict[Hashable, int] = {}
        self._cluster = np.array([positions.setdefault(c, len(positions)) for c in clusters])
        if len(positions) > MAX_CLUSTERS:
            group = np.random.default_rng(seed).permutation(len(positions)) % MAX_CLUSTERS
            self._cluster = group[self._cluster]
        self._sizes = np.bincount(self._cluster).astype(np.float64)
        self._resamples = resamples
        self._seed = seed

    def intervals(self, values: Floats) -> list[Interval]:
        """Return the mean of each column of `values` (samples, metrics) and its interval.

        An interval always contains its estimate, which a percentile interval of few clusters can
        miss.
        """
        lows, highs = np.quantile(self.resampled_means(values), QUANTILES, axis=0)
        estimates = values.mean(axis=0)
        return [
            Interval(float(value), float(min(low, value)), float(max(high, value)))
            for value, low, high in zip(estimates, lows, highs, strict=True)
        ]

    def detectable_differences(self, differences: Floats) -> Floats:
        """Return the minimum detectable differences, (samples, metrics) -> (metrics,).

        If the true difference has this size, a test set of this size yields an interval without
        zero with probability 0.8. Smaller differences can exist without being detected.
        """
        standard_errors = np.asarray(self.resampled_means(differences).std(axis=0))
        return (CONFIDENCE_Z + POWER_Z) * standard_errors

    def counts_interval(
        self, counts: csr_matrix, statistic: Callable[[Floats], Floats]
    ) -> Interval:
        """Return the interval of a statistic of summed counts, such as coverage or Gini.

        `statistic` maps (resamples, items) to (resamples,); `counts` is (samples, items). A
        resample contains fewer distinct clusters than the test set, so it covers fewer items.
        Therefore only the spread of the resampled values is used, centered on the estimate.
        """
        from scipy.sparse import csr_matrix

        ones = np.ones(len(self._cluster))
        shape = (len(self._sizes), len(self._cluster))
        by_cluster = csr_matrix((ones, (self._cluster, np.arange(len(ones)))), shape=shape) @ counts
        value = float(statistic(np.asarray(counts.sum(axis=0), dtype=np.float64))[0])
        resampled = np.concatenate([statistic(sums) for sums in self._resampled_sums(by_cluster)])
        low, high = np.quantile(resampled - resampled.mean(), QUANTILES)
        return Interval(value, value + min(0.0, float(low)), value + max(0.0, float(high)))

    def resampled_means(self, values: Floats) -> Floats:
        """(resamples, metrics) The mean of each column in each resample."""
        sums = np.zeros((len(self._sizes), values.shape[1]))
        for column, weights in enumerate(values.T):
            sums[:, column] = np.bincount(self._cluster, weights, minlength=len(sums))
        return np.concatenate([w @ sums / (w @ self._sizes)[:, None] for w in self._weights()])

    def _resampled_sums(self, by_cluster: csr_matrix) -> Iterator[Floats]:
        """(resamples, items) The summed counts of each resample, in chunks."""
        for weights in self._weights():
            parts = 1 + len(weights) * by_cluster.shape[1] // _MAX_DRAWS
            for part in np.array_split(weights, parts):
                yield np.asarray(part @ by_cluster)

    def _weights(self) -> Iterator[Floats]:
        """(resamples, clusters) How often each resample draws each cluster, in chunks."""
        rng = np.random.default_rng(self._seed)
        clusters = len(self._sizes)
        chunk = max(1, _MAX_DRAWS // clusters)
        for start in range(0, self._resamples, chunk):
            count = min(chunk, self._resamples - start)
            draws = rng.integers(clusters, size=(count, clusters))
            draws += np.arange(count)[:, None] * clusters
            weights = np.bincount(draws.ravel(), minlength=count * clusters)
            yield weights.reshape(count, clusters).astype(np.float64)
