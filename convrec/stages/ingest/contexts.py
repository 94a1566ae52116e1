"""The contexts of the conversations: each is sent to the teacher once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convrec.stages.base import StepContext

if TYPE_CHECKING:
    import polars as pl


def contexts(ctx: StepContext) -> pl.DataFrame:
    """One row a context (context_id, conversation), in order."""
    talks = ctx.frame("conversations", "context_id", "conversation")
    return talks.unique("context_id", keep="first", maintain_order=True)
