"""S and s_conv of s_remap = p·(S + I) + λ·s_conv: cosine similarities to the catalog's items.

Both are measured in one space, TF-IDF or the vectors of an embedding model. A listed title that
the catalog has gets its item's vector; any other gets the vector of the title as written.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np
import polars as pl

from convrec.config.choices import SIMILARITIES
from convrec.stages.base import StepContext
from convrec.stages.remap.embedding import missing_texts, uses_embeddings, vector_space
from convrec.stages.remap.linked_titles import LinkedTitles
from convrec.stages.remap.texts import (
    collect_texts,
    item_texts,
    read_descriptions,
    text_key,
    title_texts,
    truncate,
)
from convrec.stages.remap.vector_store import read_vectors
from convrec.utils.tfidf import tfidf_vectorizer

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

MAX_SEARCH_TERMS = 2000
"""Terms that conversations are searched for; a pattern of many more is rejected or slow."""

DECIMALS = 6
"""Decimals of products of dense vectors, so that ties do not depend on how a BLAS adds."""

SparseEntries = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Row, column and value of the nonzero entries of a matrix."""


class SimilarityModel(Protocol):
    """Cosine similarities to the catalog for chunks of contexts.

    A new model is one class, created from (ctx, titles, contexts), and one entry of
    SIMILARITY_MODELS. `contexts` has the columns context_id and conversation.
    """

    def item_similarity(self, p: csr_matrix) -> np.ndarray:
        """p·S: (contexts, titles) → (contexts, catalog)."""

    def conversation_similarity(self, contexts: slice) -> np.ndarray:
        """s_conv: (contexts, catalog)."""


ModelFactory = Callable[[StepContext, LinkedTitles, pl.DataFrame], SimilarityModel]


class TfidfSimilarity:
    """TF-IDF of titles with year and genres, or with descriptions, by the basis.

    Titles outside the catalog are compared without their year.
    """

    def __init__(self, ctx: StepContext, titles: LinkedTitles, contexts: pl.DataFrame) -> None:
        from scipy.sparse import vstack

        self._tfidf = tfidf_vectorizer(ctx.frame("similarity_basis"))
        self._conversations = contexts["conversation"]
        described = read_descriptions(ctx)
        catalog = self._tfidf.transform(item_texts(ctx.frame("catalog"), described)).tocsr()
        self._catalog = catalog.T.tocsr()
        written = title_texts(titles.items, described, years=False)
        both = vstack([catalog, self._tfidf.transform(written)]).tocsr()
        as_written = catalog.shape[0] + np.arange(titles.items.height)
        self._titles = both[np.where(titles.position >= 0, titles.position, as_written)]

    def item_similarity(self, p: csr_matrix) -> np.ndarray:
        """p·S: (contexts, titles) → (contexts, catalog)."""
        similarity: np.ndarray = (p @ self._titles @ self._catalog).toarray()
        return similarity

    def conversation_similarity(self, contexts: slice) -> np.ndarray:
        """s_conv: (contexts, catalog)."""
        vectors = self._tfidf.transform(self._conversations[contexts].to_list())
        similarity: np.ndarray = (vectors @ self._catalog).toarray()
        return similarity

    def item_entries(self, columns: np.ndarray) -> SparseEntries:
        """The nonzero entries of S in some catalog columns; entries number them from 0."""
        entries = (self._titles @ self._catalog[:, columns]).tocoo()
        return entries.row, entries.col, entries.data

    def conversation_entries(self, columns: np.ndarray, conversations: pl.Series) -> SparseEntries:
        """The nonzero entries of s_conv in some catalog columns; entries number them from 0."""
        terms = np.unique(self._catalog[:, columns].tocoo().row)
        rows = self._conversations_with(terms, conversations)
        if not len(rows):
            return rows, rows, rows
        vectors = self._tfidf.transform(conversations.gather(rows).to_list())
        entries = (vectors @ self._catalog[:, columns]).tocoo()
        return rows[entries.row], entries.col, entries.data

    def _conversations_with(self, terms: np.ndarray, conversations: pl.Series) -> np.ndarray:
        """The conversations that may contain one of these terms, without tokenizing all of them.

        With too many terms to search for: all conversations, since most contain one.
        """
        words = self._tfidf.get_feature_names_out()[terms].tolist()
        if not words:
            return terms
        if len(words) > MAX_SEARCH_TERMS:
            return np.arange(len(conversations))
        preprocess = self._tfidf.build_preprocessor()
        texts = [text if text.isascii() else preprocess(text) for text in conversations]
        frame = pl.DataFrame({"text": texts, "ascii": list(map(str.isascii, texts))})
        contains = pl.col("text").str.contains_any(words, ascii_case_insensitive=True)
        as_word = pl.col("text").str.contains(rf"(?i)\b(?:{'|'.join(words)})\b")
        # Word boundaries of other scripts differ between Rust and Python.
        return np.flatnonzero(frame.select(contains & (as_word | ~pl.col("ascii"))))


class VectorSimilarity:
    """Unit vectors of an embedding model; a text without a vector has similarity 0 to all."""

    def __init__(self, ctx: StepContext, titles: LinkedTitles, contexts: pl.DataFrame) -> None:
        texts = collect_texts(ctx, titles, contexts)
        vectors, _ = read_vectors(texts["text_key"], vector_space(ctx.config), ctx.store)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        np.divide(vectors, lengths, out=vectors, where=lengths > 0)
        # Row −1 is all zeros, for texts without a vector.
        self._vectors = np.vstack([vectors, np.zeros((1, vectors.shape[1]), np.float32)])
        row_of = {key: row for row, key in enumerate(texts["text_key"])}

        def vector_rows(texts: list[str]) -> np.ndarray:
            rows = [row_of.get(text_key(truncate(text)), -1) for text in texts]
            return np.array(rows, dtype=np.int64)

        self._conversations = vector_rows(contexts["conversation"].to_list())
        described = read_descriptions(ctx)
        catalog = vector_rows(item_texts(ctx.frame("catalog"), described))
        title_rows = vector_rows(title_texts(titles.items, described))
        linked = titles.position >= 0
        title_rows[linked] = catalog[titles.position[linked]]
        self._titles = self._vectors[title_rows]
        self._catalog = np.ascontiguousarray(self._vectors[catalog].T)

    def item_similarity(self, p: csr_matrix) -> np.ndarray:
        """p·S: (contexts, titles) → (contexts, catalog)."""
        similarity: np.ndarray = np.round((p @ self._titles) @ self._catalog, DECIMALS)
        return similarity

    def conversation_similarity(self, contexts: slice) -> np.ndarray:
        """s_conv: (contexts, catalog)."""
        vectors = self._vectors[self._conversations[contexts]]
        similarity: np.ndarray = np.round(vectors @ self._catalog, DECIMALS)
        return similarity


def missing_vector_failures(ctx: StepContext) -> pl.DataFrame | None:
    """Report required texts without a vector: context_id, reason; None if there are none.

    One row for each conversation without a vector, and one without a context for all items.
    """
    if not uses_embeddings(ctx.config):
        return None
    missing = missing_texts(ctx).group_by("context_id", maintain_order=True).len()
    if missing.is_empty():
        return None
    reason = (
        pl.when(pl.col("context_id") == "")
        .then(pl.format("{} texts of items have no vector; run again to ask for them", "len"))
        .otherwise(pl.lit("the conversation has no vector; run again to ask for it"))
    )
    return missing.select("context_id", reason.alias("reason"))


SIMILARITY_MODELS: dict[str, ModelFactory] = {
    "tfidf": TfidfSimilarity,
    "sentence-transformers": VectorSimilarity,
    "openai": VectorSimilarity,
}


def similarity_model(
    ctx: StepContext, titles: LinkedTitles, contexts: pl.DataFrame
) -> SimilarityModel:
    """Create the model of `remap.similarity`."""
    return SIMILARITY_MODELS[ctx.config.remap.similarity](ctx, titles, contexts)


def register_similarity(name: str, model: ModelFactory) -> None:
    """Allow `remap.similarity=name`; call it before the configuration is loaded."""
    SIMILARITY_MODELS[name] = model
    SIMILARITIES.add(name)
