"""Candidates that a profile does not make itself: over titles alone, or with embeddings.

Nothing is requested: descriptions are those of the profile's candidates, and embeddings are a local
model's, which exist only where the extra `st` and the model are on this machine.
"""

from __future__ import annotations

from contextlib import closing
from importlib.util import find_spec

import polars as pl

from convrec.config import Config, resolve_path
from convrec.config.sections.data import Remap
from convrec.models.hub import is_cached
from convrec.stages.base import StepContext
from convrec.stages.remap import CANDIDATES, SIMILARITY_BASIS, is_described
from convrec.stages.remap.embedding import embedding_model

MAX_EMBEDDED = 10_000
"""Contexts of which all are embedded; of more, only those of test: MiniLM embeds 110 a second."""


def is_plain(config: Config) -> bool:
    """Whether the profile's candidates are by TF-IDF of titles and the catalog's own texts."""
    return config.remap.similarity == "tfidf" and not is_described(config)


def missing_descriptions(config: Config) -> str:
    """Why there are no candidates over descriptions; empty if there are."""
    if is_described(config):
        return ""
    return (
        "remap.describe=off; `convrec plan` with --set remap.describe=all says what descriptions "
        "cost, and remap.describe=facts needs no LLM"
    )


def missing_embeddings(config: Config) -> str:
    """Why there are no candidates with embeddings; empty if there are."""
    if config.remap.similarity != "tfidf":
        return ""
    if find_spec("sentence_transformers") is None:
        return (
            "the extra `st` is not installed: .venv/bin/pip install -c constraints.txt -e '.[st]'"
        )
    model = embedding_model(with_remap(config, similarity="sentence-transformers"))
    if resolve_path(model, "remap.model").is_dir() or is_cached(model):
        return ""
    return f"the model {model} is not on this machine; name a folder in remap.model, or download it"


def with_remap(config: Config, **settings: object) -> Config:
    """The configuration with other settings of Remap."""
    remap: Remap = config.remap.model_copy(update=settings)
    return config.model_copy(update={"remap": remap})


def candidates_over(ctx: StepContext, *, described: bool, **settings: object) -> pl.DataFrame:
    """The candidates by TF-IDF, over descriptions or not, with other settings of `remap`."""
    config = with_remap(ctx.config, similarity="tfidf", **settings)
    if not described:
        config = with_remap(config, describe="off")
    parents = _without_basis(ctx, config)
    basis = {"similarity_basis": SIMILARITY_BASIS.build(parents).rows}
    frames = {**parents.frames, **basis}
    return _build(StepContext(config, ctx.store, parents.parents, ctx.progress, frames=frames))


def embedded_candidates(ctx: StepContext) -> pl.DataFrame:
    """The candidates with the embeddings of a local model; of many contexts those of test alone."""
    config = with_remap(ctx.config, similarity="sentence-transformers")
    parents = _without_basis(ctx, config)
    frames = dict(parents.frames)
    if not embeds_all(ctx):
        frames["conversations"] = ctx.frame("conversations").filter(pl.col("split") == "test")
        frames["teacher_lists"] = ctx.frame("teacher_lists").join(
            frames["conversations"], on="context_id", how="semi", maintain_order="left"
        )
    embedded = StepContext(config, ctx.store, parents.parents, ctx.progress, frames=frames)
    assert CANDIDATES.responses is not None
    CANDIDATES.responses.record(embedded)
    return _build(embedded)


def embeds_all(ctx: StepContext) -> bool:
    """Whether the lists of the step `embedded` are of all contexts, not of test alone."""
    is_own = ctx.config.remap.similarity != "tfidf"
    return is_own or ctx.frame("conversations", "context_id").n_unique() <= MAX_EMBEDDED


def _without_basis(ctx: StepContext, config: Config) -> StepContext:
    """The parents of candidates without the similarity basis, and descriptions where described."""
    roles = {"catalog", "conversations", "teacher_lists"}
    if is_described(config):
        roles.add("descriptions")
    parents, frames = dict(ctx.parents), ctx.frames
    if "candidates" in ctx.parents:
        for role, parent in ctx.store.header(ctx.parents["candidates"].artifact_id).parents.items():
            if (ref := ctx.store.find(parent)) is not None:
                parents.setdefault(role, ref)
    return StepContext(
        config,
        ctx.store,
        {role: ref for role, ref in parents.items() if role in roles},
        ctx.progress,
        frames={role: frame for role, frame in frames.items() if role in roles},
    )


def _build(ctx: StepContext) -> pl.DataFrame:
    with closing(CANDIDATES.build(ctx)) as result:
        return result.rows
