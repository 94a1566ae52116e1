"""What embedding would take: the requests still to be sent and their bill, before any is sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from convrec.stages.remap.embedding import embedding_requests, embeds, lacking_texts, model_of

if TYPE_CHECKING:
    from convrec.llm.estimate import CostEstimate
    from convrec.llm.requests import Request
    from convrec.stages.base import StepContext

TITLE_BYTES = 60
"""UTF-8 bytes that a title of a list to come is taken to have at most."""


@dataclass(frozen=True)
class EmbeddingCost:
    """Texts without a vector, requests without an answer, and the bill for those."""

    texts: int
    requests: int
    bill: CostEstimate


def estimate_embedding_cost(ctx: StepContext) -> EmbeddingCost:
    """What similarity still needs; nothing with TF-IDF, texts alone with a model on this machine.

    Where there are no teacher lists yet, the titles in them are unknown: the low end of the bill is
    without them, the high end as if each were a new one outside the catalog. Raises ConfigError for
    a model without a price.
    """
    from convrec.llm.estimate import CostEstimate, estimate_cost
    from convrec.llm.read import missing_requests

    if not embeds(ctx.config):
        return EmbeddingCost(0, 0, CostEstimate())
    known = ctx if ctx.has("teacher_lists") else _with_lists(ctx)
    texts, count = lacking_texts(known).height, 0

    def counted() -> Iterator[Request]:
        nonlocal count
        for request in missing_requests(embedding_requests(known), ctx.store):
            count += 1
            yield request

    bill = estimate_cost(counted(), config=ctx.config, store=ctx.store, stage="remap")
    return EmbeddingCost(texts, count, bill if known is ctx else bill + _titles_to_come(ctx))


def _with_lists(ctx: StepContext) -> StepContext:
    """The job as if every context's list named the first item of the catalog."""
    from dataclasses import replace

    import polars as pl

    first = ctx.frame("catalog").select("title", "year").head(1)
    lists = ctx.frame("conversations", "context_id").unique(maintain_order=True)
    lists = lists.with_columns(rank=pl.lit(1, pl.Int32)).join(first, how="cross")
    return replace(ctx, frames={**ctx.frames, "teacher_lists": lists})


def _titles_to_come(ctx: StepContext) -> CostEstimate:
    from convrec.llm.estimate import CostEstimate
    from convrec.llm.prices import price_of

    if ctx.config.remap.similarity != "openai":
        return CostEstimate()
    contexts = ctx.frame("conversations", "context_id")["context_id"].n_unique()
    tokens = contexts * ctx.config.list_length * TITLE_BYTES / 3
    return CostEstimate(0.0, tokens * price_of(model_of(ctx.config), ctx.config).input / 1e6)
