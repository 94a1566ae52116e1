"""The kNN baseline: recommend what answered the most similar training posts.

Similarity is the cosine of TF-IDF vectors that are fitted on the training posts. The score of an
item is the sum, over the k nearest posts, of similarity × number of answers that name the item.
Items with equal scores are ordered by popularity. k is chosen on the validation split.

Source: NBCRS, the neighborhood-based CRS of Manzoor, Ziegler, Garcia and Jannach (RecSys 2024), in
which nearest neighbors are on a par with neural models. They use a sentence encoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from convrec.metrics import Ints
from convrec.metrics.ndcg import ndcg
from convrec.metrics.relevance import TitleAndYear
from convrec.stages.evaluate.baselines.training import TrainingData
from convrec.stages.evaluate.samples import Sample
from convrec.utils.nearest import nearest_documents
from convrec.utils.tfidf import tfidf_vectorizer

CANDIDATE_KS = (5, 10, 20, 50, 100, 200, 500)
"""Values of k to choose from."""

DEFAULT_K = 50
"""k without validation samples."""

CUTOFF = 20
_MAX_SCORES = 1 << 22
"""Scores of items held in memory at once."""

Neighbors = tuple[Ints, NDArray[np.float32]]
"""(samples, k) nearest training posts of each sample, nearest first, and their similarities."""


def knn(
    training: TrainingData, samples: Sequence[Sample], n: int, k: int
) -> list[list[TitleAndYear]]:
    """Return the `n` best items that each sample has not seen, from its `k` nearest posts."""
    neighbors = _find_neighbors(training, samples, k)
    return [
        training.top_unseen(ranked, sample, n)
        for sample, ranked in zip(samples, _ranked_items(training, neighbors, k), strict=True)
    ]


def choose_k(training: TrainingData, validation: Sequence[Sample]) -> int:
    """Return the k with the best NDCG@20 on validation, the smaller one on a tie."""
    if not validation:
        return DEFAULT_K
    candidates = [k for k in CANDIDATE_KS if k <= len(training.texts)] or [len(training.texts)]
    neighbors = _find_neighbors(training, validation, max(candidates))
    truths = [
        [training.matching_rows([truth]) for truth in sample.ground_truth] for sample in validation
    ]
    sizes = np.array([len(truth) for truth in truths], dtype=np.int64)
    scores = []
    for k in candidates:
        relevance = np.zeros((len(validation), CUTOFF))
        for index, ranked in enumerate(_ranked_items(training, neighbors, k)):
            rows = training.top_unseen_rows(ranked, validation[index], CUTOFF)
            relevance[index, _hit_ranks(rows, truths[index])] = 1.0
        scores.append(float(ndcg(relevance, sizes, CUTOFF).mean()))
    return candidates[int(np.argmax(scores))]


def _hit_ranks(rows: list[int], truths: list[set[int]]) -> list[int]:
    """Return the ranks, from 0, that hit a ground truth; each ground truth is hit once."""
    open_truths = list(truths)
    ranks = []
    for rank, row in enumerate(rows):
        hit = next((truth for truth in open_truths if row in truth), None)
        if hit is not None:
            open_truths.remove(hit)
            ranks.append(rank)
    return ranks


def _find_neighbors(training: TrainingData, samples: Sequence[Sample], k: int) -> Neighbors:
    tfidf = tfidf_vectorizer()
    posts = tfidf.fit_transform(training.texts)
    queries = tfidf.transform([sample.conversation for sample in samples])
    k = min(k, posts.shape[0])
    nearest = np.empty((len(samples), k), dtype=np.int64)
    similarities = np.empty((len(samples), k), dtype=np.float32)
    for block in nearest_documents(queries, posts, k):
        nearest[block.queries] = block.documents
        similarities[block.queries] = block.similarities
    return nearest, similarities


def _ranked_items(training: TrainingData, neighbors: Neighbors, k: int) -> Iterator[Ints]:
    from scipy.sparse import csr_matrix

    popular = training.by_popularity
    nearest, similarities = (array[:, :k] for array in neighbors)
    weights = csr_matrix(
        (
            similarities.astype(np.float64).ravel(),
            nearest.ravel(),
            np.arange(len(nearest) + 1) * nearest.shape[1],
        ),
        shape=(len(nearest), training.answer_counts.shape[0]),
    )
    scores = (weights @ training.answer_counts)[:, popular]
    step = max(1, _MAX_SCORES // len(popular))
    for start in range(0, len(nearest), step):
        for row in scores[start : start + step].toarray():
            yield popular[np.argsort(-row, kind="stable")]
