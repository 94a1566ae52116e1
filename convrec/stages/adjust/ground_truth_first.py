"""Training lists that begin with the ground truth (`adjust.ground_truth_first`)."""

from __future__ import annotations

import polars as pl

from convrec.catalog.exact_matches import filter_splits
from convrec.stages.adjust.ground_truth import link_ground_truth, read_seen
from convrec.stages.adjust.top_n import NO_ITEM
from convrec.stages.base import StepContext
from convrec.stages.contexts import row_slices


def put_ground_truth_first(ctx: StepContext, lists: pl.DataFrame) -> pl.DataFrame:
    """Replace the training lists by one for each of their samples, with its ground truth first.

    `lists` has one row a context: context_id, sample_id (null), split, top (list of catalog rows).
    In the result, training lists have a sample_id. A list keeps at most `list_length` items,
    none twice. Ground truth outside of the catalog, or seen in the conversation, is left out.
    """
    top = pl.col("top").list.eval(pl.element().filter(pl.element() != NO_ITEM))
    lists = lists.with_row_index("context")
    train = lists.filter(pl.col("split") == "train").drop("sample_id")
    truth = _read_unseen_ground_truth(ctx, train)
    merged = pl.concat_list("items", top).list.unique(maintain_order=True)
    samples = train.join(truth, on="context", maintain_order="left_right").with_columns(
        top=merged.list.head(ctx.config.list_length)
    )
    others = lists.filter(pl.col("split") != "train")
    columns = ("context", "context_id", "sample_id", "split", "top")
    both = pl.concat([samples.select(columns), others.select(columns)])
    return both.sort("context", maintain_order=True).drop("context")


def _read_unseen_ground_truth(ctx: StepContext, contexts: pl.DataFrame) -> pl.DataFrame:
    """One row for each training sample of `contexts`: context, sample_id, items; in order."""
    seen = read_seen(ctx, contexts)
    parts = []
    for rows in row_slices(
        ctx, "conversations", "context_id", "sample_id", "split", "ground_truth"
    ):
        samples = filter_splits(rows, {"train"}).join(
            contexts.select("context_id", "context"), on="context_id", maintain_order="left"
        )
        items = (
            link_ground_truth(ctx, samples.select("row", "context", "ground_truth"))
            .join(seen, on=["context", "item"], how="anti", maintain_order="left")
            .group_by("row", maintain_order=True)
            .agg(items=pl.col("item").cast(pl.Int32))
        )
        found = samples.join(items, on="row", how="left", maintain_order="left")
        parts.append(found.select("context", "sample_id", pl.col("items").fill_null([])))
    return pl.concat(parts)
