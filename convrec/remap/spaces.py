"""Where similarity is measured: vectors of catalog items, of the teachers' items, of conversations.

S and s_conv are cosine similarities in the same space, whichever it is. A teacher's item that is in
the catalog has the catalog item's vector; any other has that of what the teacher wrote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from convrec.remap.basis import item_texts, vectorizer

if TYPE_CHECKING:
    import polars as pl
    from scipy.sparse import csr_matrix

    from convrec.artifacts import Job
    from convrec.remap.named import Named


class Space(Protocol):
    """Cosine similarities to the catalog's items, for some contexts at once."""

    def similar(self, p: csr_matrix) -> np.ndarray:
        """p·S: (contexts, items that teachers named) to (contexts, catalog)."""

    def talk(self, conversations: pl.Series) -> np.ndarray:
        """s_conv: (contexts, catalog)."""


class TfidfSpace:
    """TF-IDF rows over title, year and genres, with the vocabulary and IDF of the basis."""

    def __init__(self, job: Job, named: Named) -> None:
        from scipy.sparse import vstack

        self._tfidf = vectorizer(job.frame("similarity_basis"))
        catalog = self._tfidf.transform(item_texts(job.frame("catalog"))).tocsr()
        self._catalog = catalog.T.tocsr()
        both = vstack([catalog, self._tfidf.transform(named.items["title"].to_list())]).tocsr()
        own = catalog.shape[0] + np.arange(named.items.height)
        self._items = both[np.where(named.position >= 0, named.position, own)]

    def similar(self, p: csr_matrix) -> np.ndarray:
        """p·S: (contexts, items that teachers named) to (contexts, catalog)."""
        return (p @ self._items @ self._catalog).toarray()

    def talk(self, conversations: pl.Series) -> np.ndarray:
        """s_conv: (contexts, catalog)."""
        return (self._tfidf.transform(conversations.to_list()) @ self._catalog).toarray()
