"""Conversations as a step with a catalog reads them: aliases are replaced by the items' titles."""

from __future__ import annotations

import polars as pl

from convrec.stages.base import StepContext
from convrec.stages.contexts import split_rows
from convrec.titles.aliases import TITLE_COLUMNS, AliasIndex, find_aliases, with_catalog_titles
from convrec.utils.latest_value import LatestValue

_LATEST_INPUTS: LatestValue[dict[str, str]] = LatestValue()
"""Several steps of a run need the same value."""


def read_conversations(ctx: StepContext) -> pl.DataFrame:
    """The conversations, with the titles of the catalog in `seen` and `ground_truth`."""
    return with_catalog_titles(ctx.frame("conversations"), ctx.frame("catalog"))


def read_split(ctx: StepContext, split: str, *columns: str) -> pl.DataFrame:
    """Columns of the conversations of one split, among them `seen` and `ground_truth`."""
    return with_catalog_titles(
        split_rows(ctx, "conversations", split, *columns), ctx.frame("catalog")
    )


def alias_inputs(ctx: StepContext) -> dict[str, str]:
    """That conversations name items by aliases, as an input of the step; empty if none does.

    So the ids of all other artifacts are those of versions that did not read aliases.
    """
    if not (ctx.has("catalog") and ctx.has("conversations")):
        return {}
    if ctx.frames.keys() & {"catalog", "conversations"}:
        return _alias_inputs(ctx, ctx.frame("catalog"))
    catalog, conversations = (
        ctx.parents[role].artifact_id for role in ("catalog", "conversations")
    )
    columns = "item_id, title, year, aliases"
    return _LATEST_INPUTS.get(
        (ctx.store.home, catalog, conversations),
        lambda: _alias_inputs(ctx, ctx.store.query(catalog, columns)),
    )


def _alias_inputs(ctx: StepContext, catalog: pl.DataFrame) -> dict[str, str]:
    """Reads the conversations only if the catalog has aliases."""
    if AliasIndex(catalog).is_empty:
        return {}
    found = find_aliases(ctx.frame("conversations", *TITLE_COLUMNS), catalog)
    return {"aliases": "as titles"} if found else {}
