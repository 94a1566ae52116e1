"""What conversations name, seen or wanted, as rows of the catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convrec.catalog.items import ItemLinker, of_splits
from convrec.stages.partitions import slices

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from convrec.stages.base import StepContext


def read_seen(ctx: StepContext, contexts: pl.DataFrame) -> pl.DataFrame:
    """What each of `contexts` (context_id, context) has seen: columns context and item."""
    import polars as pl

    linker, found = _linker(ctx), []
    for samples in slices(ctx, "conversations", "context_id", "seen"):
        own = samples.join(contexts.select("context_id", "context"), on="context_id")
        found.append(linker.link(own.select("context", "seen"), "seen"))
    return pl.concat(found)


def read_truth(
    ctx: StepContext, split: str, contexts: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The samples of a split that have a ground truth and one of `contexts`, and its titles.

    (sample, context, size: how many titles; sample, context, item: one row a title that the catalog
    has.)
    """
    import polars as pl

    linker, count = _linker(ctx), 0
    found: list[tuple[pl.DataFrame, pl.DataFrame]] = []
    for samples in slices(ctx, "conversations", "context_id", "split", "ground_truth"):
        own = (
            of_splits(samples, {split})
            .select("context_id", "ground_truth", size=pl.col("ground_truth").list.len())
            .filter(pl.col("size") > 0)
            .join(contexts.select("context_id", "context"), on="context_id", maintain_order="left")
            .drop("context_id")
            .with_row_index("sample", offset=count)
        )
        count += own.height
        titles = linker.link(own.drop("size"), "ground_truth").unique()
        found.append((own.drop("ground_truth"), titles))
    samples, truth = map(pl.concat, zip(*found, strict=True))
    return samples, truth


def training_mentions(ctx: StepContext) -> np.ndarray:
    """How many training samples have each catalog item in their ground truth, candidate or not."""
    import numpy as np

    linker = _linker(ctx)
    counts = np.zeros(ctx.frame("catalog", "item_id").height)
    for samples in slices(ctx, "conversations", "split", "ground_truth"):
        own = of_splits(samples, {"train"}).select("row", "ground_truth")
        items = linker.link(own, "ground_truth").unique()["item"].to_numpy()
        counts += np.bincount(items, minlength=len(counts))
    return counts


def _linker(ctx: StepContext) -> ItemLinker:
    return ItemLinker(ctx.frame("catalog", "item_id", "title", "year"))
