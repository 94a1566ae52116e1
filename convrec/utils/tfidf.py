"""The TF-IDF vectorizer of the similarity model and of the kNN baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer


def tfidf_vectorizer(basis: pl.DataFrame | None = None) -> TfidfVectorizer:
    """A TF-IDF vectorizer: unfitted, or restored from the rows of a similarity basis."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    settings: dict[str, Any] = {
        "strip_accents": "unicode",
        "stop_words": "english",
        "token_pattern": r"(?u)\b\w+\b",
        "sublinear_tf": True,
        "dtype": np.float32,
    }
    if basis is None:
        return TfidfVectorizer(**settings)
    restored = TfidfVectorizer(**settings, vocabulary=basis["term"].to_list())
    restored.idf_ = basis["idf"].to_numpy().astype(np.float32)
    return restored
