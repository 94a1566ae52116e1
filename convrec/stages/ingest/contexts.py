"""The contexts of the conversations; the teacher is asked once per context."""

from __future__ import annotations

import polars as pl

from convrec.stages.base import StepContext


def unique_conversations(ctx: StepContext) -> pl.DataFrame:
    """One row per context (context_id, conversation), in order."""
    conversations = ctx.frame("conversations", "context_id", "conversation")
    return conversations.unique("context_id", keep="first", maintain_order=True)
