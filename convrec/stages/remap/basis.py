"""The similarity_basis artifact: the vocabulary and IDF of TF-IDF, or the name of a model.

TF-IDF is fitted on the catalog once and stays pinned for a profile, so a catalog edit changes only
the vectors of edited items; `--refresh remap` fits and pins a new basis. With an embedding model
the basis is one row with the model's name.
"""

from __future__ import annotations

import logging
from typing import Any

import polars as pl

from convrec.artifacts import StepResult, digest
from convrec.config import Config
from convrec.stages.base import Step, StepContext
from convrec.stages.remap.embedding import uses_embeddings, vector_space
from convrec.stages.remap.texts import item_texts, read_descriptions
from convrec.utils.tfidf import tfidf_vectorizer

_LOG = logging.getLogger(__name__)


def _build(ctx: StepContext) -> StepResult:
    if uses_embeddings(ctx.config):
        name = vector_space(ctx.config)
        return StepResult(
            pl.DataFrame({"term": [name], "column": [0], "idf": [1.0]}), {"model": name}
        )
    tfidf, catalog, described = tfidf_vectorizer(), ctx.frame("catalog"), read_descriptions(ctx)
    is_bare = (pl.col("genres").list.len() == 0) & (pl.col("text") == "")
    if described is None and catalog.select(is_bare.all()).item():
        _LOG.warning(
            "the catalog has neither genres nor text, so that TF-IDF compares nothing but titles "
            "and years; add a column genres or text, or set remap.describe"
        )
    tfidf.fit(item_texts(catalog, described))
    terms = tfidf.get_feature_names_out().tolist()
    rows = pl.DataFrame({"term": terms, "column": range(len(terms)), "idf": tfidf.idf_.tolist()})
    return StepResult(rows, {"terms": rows.height})


def _config(config: Config) -> dict[str, Any]:
    model = {"model": vector_space(config)} if uses_embeddings(config) else {}
    return {"similarity": config.remap.similarity, **model}


def pin_name(config: Config) -> str:
    """The name of the pin that holds this profile's basis in the warehouse."""
    settings = {**_config(config), **config.remap.identity_settings("describe")}
    return f"similarity_basis/{config.profile}/{digest(settings)[:8]}"


SIMILARITY_BASIS = Step(
    stage="remap", kind="similarity_basis", version=1, build=_build, config=_config
)
