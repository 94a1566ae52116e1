"""The TF-IDF vectorizer of the similarity model, the kNN baseline and the teacher `neighbours`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer


def tfidf_vectorizer(
    basis: pl.DataFrame | None = None, max_documents: int | None = None
) -> TfidfVectorizer:
    """A TF-IDF vectorizer: unfitted, or restored from the rows of a similarity basis.

    Fitting ignores terms of more than `max_documents` documents; None keeps all.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    settings: dict[str, Any] = {
        "strip_accents": "unicode",
        "stop_words": "english",
        "token_pattern": r"(?u)\b\w+\b",
        "sublinear_tf": True,
        "dtype": np.float32,
    }
    if max_documents is not None:
        settings["max_df"] = max_documents
    if basis is None:
        return TfidfVectorizer(**settings)
    restored = TfidfVectorizer(**settings, vocabulary=basis["term"].to_list())
    restored.idf_ = basis["idf"].to_numpy().astype(np.float32)
    return restored
