"""What embedding costs: the requests still to be sent and their bill, before any is sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import polars as pl

from convrec.llm.estimate import CostEstimate, estimate_cost
from convrec.llm.prices import price_of
from convrec.llm.read import missing_requests
from convrec.llm.requests import Request
from convrec.stages.base import StepContext
from convrec.stages.remap.embedding import (
    embedding_model,
    embedding_requests,
    missing_texts,
    uses_embeddings,
)

TITLE_BYTES = 60
"""Assumed upper bound of the UTF-8 bytes of a title that the teacher has not listed yet."""


@dataclass(frozen=True)
class EmbeddingCost:
    """Texts without a vector, requests without a response, and the bill of those requests."""

    texts: int
    requests: int
    bill: CostEstimate


def estimate_embedding_cost(ctx: StepContext) -> EmbeddingCost:
    """Estimate what is still to be embedded: nothing with TF-IDF, no requests with a local model.

    Before there are teacher lists, their titles are unknown: the low end of the bill is without
    them, the high end assumes that each is a new title outside the catalog. Raises ConfigError for
    a model without a price.
    """
    if not uses_embeddings(ctx.config):
        return EmbeddingCost(0, 0, CostEstimate())
    listed = ctx if ctx.has("teacher_lists") else _with_placeholder_lists(ctx)
    texts, count = missing_texts(listed).height, 0

    def counted() -> Iterator[Request]:
        nonlocal count
        for request in missing_requests(embedding_requests(listed), ctx.store):
            count += 1
            yield request

    bill = estimate_cost(counted(), config=ctx.config, store=ctx.store, stage="remap")
    return EmbeddingCost(texts, count, bill if listed is ctx else bill + _new_title_cost(ctx))


def _with_placeholder_lists(ctx: StepContext) -> StepContext:
    """A context in which every teacher list has the catalog's first item."""
    first = ctx.frame("catalog").select("title", "year").head(1)
    lists = ctx.frame("conversations", "context_id").unique(maintain_order=True)
    lists = lists.with_columns(rank=pl.lit(1, pl.Int32)).join(first, how="cross")
    return replace(ctx, frames={**ctx.frames, "teacher_lists": lists})


def _new_title_cost(ctx: StepContext) -> CostEstimate:
    """From nothing to the cost of embedding a new title at every rank of every list."""
    if ctx.config.remap.similarity != "openai":
        return CostEstimate()
    contexts = ctx.frame("conversations", "context_id")["context_id"].n_unique()
    tokens = contexts * ctx.config.list_length * TITLE_BYTES / 3
    price = price_of(embedding_model(ctx.config), ctx.config).input
    return CostEstimate(0.0, tokens * price / 1e6)
