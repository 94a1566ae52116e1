"""The documents nearest to each query by cosine similarity, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from convrec.utils.topk import top_columns

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

MAX_CELLS = 1 << 23
"""Similarities held in memory at once."""


class Nearest(NamedTuple):
    """The nearest documents of some queries.

    Attributes:
        queries: The rows of the queries.
        documents: (queries, k) Rows of the nearest documents, nearest first; ties by row.
        similarities: (queries, k) Their cosine similarities, 0 for excluded documents.
    """

    queries: slice
    documents: np.ndarray
    similarities: np.ndarray


def nearest_documents(
    queries: csr_matrix, documents: csr_matrix, k: int, excluded: csr_matrix | None = None
) -> Iterator[Nearest]:
    """Find the `k` nearest documents of each query, or all documents if there are fewer.

    `queries` (queries, terms) and `documents` (documents, terms) have rows of length 1. A nonzero
    entry of `excluded` (queries, documents) is a document that a query must not find.
    """
    columns = documents.T.tocsr()
    count = columns.shape[1]
    step = max(1, MAX_CELLS // max(count, 1))
    for start in range(0, queries.shape[0], step):
        block = slice(start, min(start + step, queries.shape[0]))
        similarities = (queries[block] @ columns).toarray()
        if excluded is not None:
            similarities[excluded[block].nonzero()] = 0.0
        best = top_columns(similarities, min(k, count))
        yield Nearest(block, best, np.take_along_axis(similarities, best, axis=1))
