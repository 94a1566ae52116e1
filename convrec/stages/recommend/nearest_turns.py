"""Titles scored by the training turns that are nearest to a conversation.

The score of a title is the sum, over the `recommend.neighbours` nearest turns, of cosine similarity
× answers of the turn that name it. Popularity in training decides ties and completes lists that are
too short. A conversation's own dialogues count neither as neighbours nor in popularity, so its list
is the same whatever was answered in them. Similarity is TF-IDF, fitted on the training
conversations, without words that are in more than COMMON of them.

Source: NBCRS, the neighborhood-based CRS of Manzoor, Ziegler, Garcia and Jannach (RecSys 2024),
which uses a sentence encoder.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from convrec.config import Config
from convrec.errors import InputError
from convrec.utils.nearest import nearest_documents
from convrec.utils.tfidf import tfidf_vectorizer

if TYPE_CHECKING:
    from scipy.sparse import csr_array

COMMON = 0.3
"""Share of the training conversations above which a word says nothing."""

ALWAYS_KEPT = 10
"""A word of at most so many conversations is never ignored: there are few of them."""

_NO_WORDS = (
    "recommend.source=neighbours compares conversations by their words, and the training "
    "conversations have none but stop words and words of almost all of them; choose another "
    "recommend.source"
)

DECIMALS = 6
"""Decimals of a score, so that ties do not depend on the order of a sum."""


class NearestTurns:
    """The training turns of a data set.

    `texts` are the conversations of training contexts. `turns` has one row a turn: text (its number
    among them) and dialogue; `answers` has turn (a row of `turns`) and item, once for each answer
    that names the item. Raises InputError if no conversation has a word to compare.
    """

    def __init__(
        self, texts: Sequence[str], turns: pl.DataFrame, answers: pl.DataFrame, config: Config
    ) -> None:
        self._count, self._length = config.recommend.neighbours, config.list_length
        common = max(ALWAYS_KEPT, int(COMMON * len(texts)))
        self._tfidf = tfidf_vectorizer(max_documents=common)
        try:
            vectors = self._tfidf.fit_transform(texts)
        except ValueError:
            raise InputError(_NO_WORDS) from None
        self._vectors = vectors[turns["text"].to_numpy()]
        self._answers = count_pairs(answers["turn"], answers["item"], turns.height)
        self._popularity = np.bincount(answers["item"].to_numpy()).astype(np.float64)
        self._dialogue = turns["dialogue"].to_numpy()

    def best_items(
        self, texts: Sequence[str], dialogues: pl.DataFrame, seen: Sequence[Collection[int]]
    ) -> Iterator[list[int]]:
        """Yield the best unseen items of each conversation, at most `list_length`, best first.

        `dialogues` has one row for each dialogue in which a conversation occurs: text (its number
        in `texts`) and dialogue. `seen` are the items seen in each conversation.
        """
        own_turns = self._own_turns(dialogues, len(texts))
        own_answers = (own_turns @ self._answers).tocsr()
        queries = self._tfidf.transform(texts)
        for block in nearest_documents(queries, self._vectors, self._count, own_turns):
            scores = self._item_scores(block.documents, block.similarities)
            for row, text in enumerate(range(block.queries.start, block.queries.stop)):
                popularity = self._popularity.copy()
                items, counts = _row(own_answers, text)
                popularity[items] -= counts
                popularity[list(seen[text])] = 0
                yield self._best(*_row(scores, row), popularity)

    def _own_turns(self, dialogues: pl.DataFrame, texts: int) -> csr_array:
        """(texts, turns) 1 for turns of a dialogue in which a conversation occurs."""
        turns = pl.DataFrame({"dialogue": self._dialogue}).with_row_index("turn")
        own = dialogues.join(turns, on="dialogue")
        return count_pairs(own["text"], own["turn"], texts, len(self._dialogue))

    def _item_scores(self, turns: np.ndarray, similarities: np.ndarray) -> csr_array:
        """(texts, items) scores from the nearest turns, (texts, k), and their similarities."""
        from scipy.sparse import csr_array

        ends = np.arange(len(turns) + 1) * turns.shape[1]
        shape = (len(turns), self._answers.shape[0])
        weights = csr_array((similarities.ravel().astype(np.float64), turns.ravel(), ends), shape)
        return weights @ self._answers

    def _best(self, items: np.ndarray, scores: np.ndarray, popularity: np.ndarray) -> list[int]:
        """The best items by score, then popularity, of those with any popularity left."""
        scores = np.round(scores, DECIMALS)
        rated = (scores > 0) & (popularity[items] > 0)
        items, scores = items[rated], scores[rated]
        order = np.lexsort((items, -popularity[items], -scores))[: self._length]
        best: list[int] = items[order].tolist()
        if len(best) < self._length:
            popularity[best] = 0
            popular = np.argsort(-popularity, kind="stable")[: self._length - len(best)]
            best += popular[popularity[popular] > 0].tolist()
        return best


def count_pairs(rows: pl.Series, columns: pl.Series, height: int, width: int = 0) -> csr_array:
    """(height, width) How often each pair occurs; by default as wide as the columns need."""
    from scipy.sparse import csr_array

    width = width or int(columns.max()) + 1  # type: ignore[arg-type]
    pairs = rows.to_numpy(), columns.to_numpy()
    return csr_array((np.ones(len(rows), np.float32), pairs), shape=(height, width))


def _row(matrix: csr_array, row: int) -> tuple[np.ndarray, np.ndarray]:
    """The columns and values of the nonzero entries of a row."""
    entries = slice(matrix.indptr[row], matrix.indptr[row + 1])
    return matrix.indices[entries], matrix.data[entries]
