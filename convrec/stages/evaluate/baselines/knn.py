"""kNN: what answered the training posts most like this conversation.

Similarity is the cosine of TF-IDF vectors, fitted on the training posts. An item scores the sum,
over the k nearest posts, of similarity × how many answers to the post name it. Items with the same
score, as all that no neighbour names, follow in the order of popularity. k is chosen on validation.

Source: NBCRS, the neighbourhood-based CRS of Manzoor, Ziegler, Garcia and Jannach (RecSys 2024),
which found nearest neighbours level with neural models. There vectors are of a sentence encoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from convrec.metrics.ndcg import ndcg
from convrec.metrics.relevance import Titled
from convrec.stages.evaluate.baselines.training import TrainingData
from convrec.utils.tfidf import vectorizer

if TYPE_CHECKING:
    from convrec.stages.evaluate.samples import Sample

KS = (5, 10, 20, 50, 100, 200, 500)
"""Numbers of neighbours that are tried."""

DEFAULT_K = 50
"""Where there is no validation sample to choose by."""

CUTOFF = 20
_CELLS = 1 << 24
"""Similarities held in memory at once."""

Neighbours = tuple[NDArray[np.int64], NDArray[np.float32]]
"""The nearest training posts of each sample, nearest first, and their similarities."""


def knn(training: TrainingData, samples: Sequence[Sample], n: int, k: int) -> list[list[Titled]]:
    """The `n` best items that each sample has not seen, by its `k` nearest training posts."""
    near = _neighbours(training, samples, k)
    return [training.named(rows) for rows in _ranked(training, samples, near, k, n)]


def choose_k(training: TrainingData, validation: Sequence[Sample]) -> int:
    """The number of neighbours with the best NDCG@20 on validation, the smaller one on a tie."""
    if not validation:
        return DEFAULT_K
    tried = [k for k in KS if k <= len(training.texts)] or [len(training.texts)]
    near = _neighbours(training, validation, max(tried))
    truths = [[training.seen([truth]) for truth in sample.ground_truth] for sample in validation]
    sizes = np.array([len(truth) for truth in truths], dtype=np.int64)
    found = []
    for k in tried:
        relevance = np.zeros((len(validation), CUTOFF))
        for at, rows in enumerate(_ranked(training, validation, near, k, CUTOFF)):
            _mark(relevance[at], rows, truths[at])
        found.append(float(ndcg(relevance, sizes, CUTOFF).mean()))
    return tried[int(np.argmax(found))]


def _mark(relevance: NDArray[np.float64], rows: list[int], truths: list[set[int]]) -> None:
    """Set 1 where an item is one of a ground truth; each ground truth is earned once."""
    open_truths = list(truths)
    for rank, row in enumerate(rows):
        hit = next((truth for truth in open_truths if row in truth), None)
        if hit is not None:
            open_truths.remove(hit)
            relevance[rank] = 1.0


def _neighbours(training: TrainingData, samples: Sequence[Sample], k: int) -> Neighbours:
    """The `k` nearest training posts of each sample's conversation, all where there are fewer."""
    tfidf = vectorizer()
    posts = tfidf.fit_transform(training.texts).T.tocsr()
    asked = tfidf.transform([sample.conversation for sample in samples])
    k = min(k, posts.shape[1])
    near = np.empty((len(samples), k), dtype=np.int64)
    how = np.empty((len(samples), k), dtype=np.float32)
    step = max(1, _CELLS // posts.shape[1])
    for start in range(0, len(samples), step):
        similar = (asked[start : start + step] @ posts).toarray()
        best = np.argpartition(-similar, k - 1, axis=1)[:, :k]
        best.sort(axis=1)
        values = np.take_along_axis(similar, best, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        near[start : start + step] = np.take_along_axis(best, order, axis=1)
        how[start : start + step] = np.take_along_axis(values, order, axis=1)
    return near, how


def _ranked(
    training: TrainingData, samples: Sequence[Sample], near: Neighbours, k: int, n: int
) -> Iterator[list[int]]:
    """The catalog rows of each sample's list."""
    popular = training.by_popularity
    for sample, posts, how in zip(samples, near[0][:, :k], near[1][:, :k], strict=True):
        scores = how.astype(np.float64) @ training.truth[posts]
        order = popular[np.argsort(-scores[popular], kind="stable")]
        seen = training.seen(sample.seen)
        yield [row for row in order[: n + len(seen)].tolist() if row not in seen][:n]
