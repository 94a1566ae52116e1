"""Where similarity is measured: vectors of catalog items, of the teachers' items, of conversations.

S and s_conv are cosine similarities in the same space, whichever it is. A teacher's item that is in
the catalog has the catalog item's vector; any other has that of what the teacher wrote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from convrec.stages.remap.embedding import embeds, lacking_texts, space_name
from convrec.stages.remap.texts import cut, item_texts, needed_texts, text_key, written_texts
from convrec.stages.remap.vector_store import vectors_of
from convrec.utils.tfidf import vectorizer

if TYPE_CHECKING:
    import polars as pl
    from scipy.sparse import csr_matrix

    from convrec.stages.base import StepContext
    from convrec.stages.remap.linked_titles import LinkedTitles

MOST_WORDS = 2000
"""Words that conversations are searched for; a pattern of many more is refused, or takes longer."""

DECIMALS = 6
"""Products of dense vectors are rounded, so that the order in which a BLAS adds breaks no tie."""


Entries = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Row, column and value of each entry of a matrix that is not 0."""


class SimilarityModel(Protocol):
    """Cosine similarities to the catalog's items, for some of the contexts at once."""

    def similar(self, p: csr_matrix) -> np.ndarray:
        """p·S: (contexts, items that teachers named) to (contexts, catalog)."""

    def talk(self, contexts: slice) -> np.ndarray:
        """s_conv: (contexts, catalog)."""


def open_similarity(
    ctx: StepContext, named: LinkedTitles, contexts: pl.DataFrame
) -> SimilarityModel:
    """The space of `remap.similarity`; `contexts` has columns context_id and conversation."""
    if embeds(ctx.config):
        return VectorSimilarity(ctx, named, contexts)
    return TfidfSimilarity(ctx, named, contexts)


class TfidfSimilarity:
    """TF-IDF rows over title, year and genres, with the vocabulary and IDF of the basis."""

    def __init__(self, ctx: StepContext, named: LinkedTitles, contexts: pl.DataFrame) -> None:
        from scipy.sparse import vstack

        self._tfidf = vectorizer(ctx.frame("similarity_basis"))
        self._conversations = contexts["conversation"]
        catalog = self._tfidf.transform(item_texts(ctx.frame("catalog"))).tocsr()
        self._catalog = catalog.T.tocsr()
        both = vstack([catalog, self._tfidf.transform(named.items["title"].to_list())]).tocsr()
        own = catalog.shape[0] + np.arange(named.items.height)
        self._items = both[np.where(named.position >= 0, named.position, own)]

    def similar(self, p: csr_matrix) -> np.ndarray:
        """p·S: (contexts, items that teachers named) to (contexts, catalog)."""
        similar: np.ndarray = (p @ self._items @ self._catalog).toarray()
        return similar

    def talk(self, contexts: slice) -> np.ndarray:
        """s_conv: (contexts, catalog)."""
        read = self._tfidf.transform(self._conversations[contexts].to_list())
        talk: np.ndarray = (read @ self._catalog).toarray()
        return talk

    def near(self, columns: np.ndarray) -> Entries:
        """S above 0: of items that teachers named to some of the catalog's, by their place here."""
        found = (self._items @ self._catalog[:, columns]).tocoo()
        return found.row, found.col, found.data

    def talk_about(self, columns: np.ndarray, conversations: pl.Series) -> Entries:
        """s_conv above 0: of conversations to some of the catalog's items, by their place here."""
        rows = self._about(np.unique(self._catalog[:, columns].tocoo().row), conversations)
        if not len(rows):
            return rows, rows, rows
        read = self._tfidf.transform(conversations.gather(rows).to_list())
        found = (read @ self._catalog[:, columns]).tocoo()
        return rows[found.row], found.col, found.data

    def _about(self, terms: np.ndarray, conversations: pl.Series) -> np.ndarray:
        """The conversations with one of these terms, found without taking all of them apart.

        All of them where the terms are too many to search for: most have one then.
        """
        import polars as pl

        words = self._tfidf.get_feature_names_out()[terms].tolist()
        if not words:
            return terms
        if len(words) > MOST_WORDS:
            return np.arange(len(conversations))
        plain = self._tfidf.build_preprocessor()
        texts = [text if text.isascii() else plain(text) for text in conversations]
        known = pl.DataFrame({"text": texts, "ascii": list(map(str.isascii, texts))})
        within = pl.col("text").str.contains_any(words, ascii_case_insensitive=True)
        word = pl.col("text").str.contains(rf"(?i)\b(?:{'|'.join(words)})\b")
        # What is a word in other scripts, Rust and Python see differently.
        return np.flatnonzero(known.select(within & (word | ~pl.col("ascii"))))


class VectorSimilarity:
    """Vectors of a model, of unit length; a text without one, or an empty one, is like nothing."""

    def __init__(self, ctx: StepContext, named: LinkedTitles, contexts: pl.DataFrame) -> None:
        needed = needed_texts(ctx, named, contexts)
        vectors, _ = vectors_of(needed["text_key"], space_name(ctx.config), ctx.store)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        np.divide(vectors, lengths, out=vectors, where=lengths > 0)
        # One row of zeros behind the others, for texts that are not there.
        self._vectors = np.vstack([vectors, np.zeros((1, vectors.shape[1]), np.float32)])
        rows = {key: row for row, key in enumerate(needed["text_key"])}

        def places(texts: list[str]) -> np.ndarray:
            return np.array([rows.get(text_key(cut(text)), -1) for text in texts], dtype=np.int64)

        self._talks = places(contexts["conversation"].to_list())
        catalog = places(item_texts(ctx.frame("catalog")))
        written = places(written_texts(named.items))
        linked = named.position >= 0
        written[linked] = catalog[named.position[linked]]
        self._items = self._vectors[written]
        self._catalog = np.ascontiguousarray(self._vectors[catalog].T)

    def similar(self, p: csr_matrix) -> np.ndarray:
        """p·S: (contexts, items that teachers named) to (contexts, catalog)."""
        similar: np.ndarray = np.round((p @ self._items) @ self._catalog, DECIMALS)
        return similar

    def talk(self, contexts: slice) -> np.ndarray:
        """s_conv: (contexts, catalog)."""
        read = self._vectors[self._talks[contexts]]
        talk: np.ndarray = np.round(read @ self._catalog, DECIMALS)
        return talk


def failures(ctx: StepContext) -> pl.DataFrame | None:
    """What has no vector, and so no similarity: context_id and reason; None where nothing lacks.

    One row for each conversation without a vector, one without a context for all items.
    """
    import polars as pl

    if not embeds(ctx.config):
        return None
    lost = lacking_texts(ctx).group_by("context_id", maintain_order=True).len()
    if lost.is_empty():
        return None
    reason = (
        pl.when(pl.col("context_id") == "")
        .then(pl.format("{} texts of items have no vector; run again to ask for them", "len"))
        .otherwise(pl.lit("the conversation has no vector; run again to ask for it"))
    )
    return lost.select("context_id", reason.alias("reason"))
