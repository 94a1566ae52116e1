"""Calibration of ratings: how often an item of each rating turns out to be a ground truth.

A judge is worth its price where the rate rises with the rating. Read on the test split, on the
candidates that it rated; the interval is Wilson's, which holds where hits are few.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from convrec.metrics.bootstrap import Z

if TYPE_CHECKING:
    from convrec.stages.base import StepContext


class Rated(NamedTuple):
    """A rating, how many candidates got it, and the share of them that is ground truth."""

    rating: int
    candidates: int
    value: float
    low: float
    high: float


def calibration(ctx: StepContext) -> list[Rated]:
    """One entry a rating, lowest first; nothing where no judge was asked."""
    import polars as pl

    from convrec.catalog.items import link_titles, of_splits

    if not ctx.has("judgments"):
        return []
    catalog = ctx.frame("catalog")
    items = catalog.select("item_id").with_row_index("item")
    test = of_splits(ctx.frame("conversations"), {"test"}).filter(
        pl.col("ground_truth").list.len() > 0
    )
    truths = (
        link_titles(test.select("context_id", "ground_truth"), "ground_truth", catalog)
        .unique()
        .join(items, on="item")
        .select("context_id", "item_id", hit=pl.lit(True))
    )
    rows = (
        ctx.frame("judgments", "context_id", "item_id", "rating")
        .join(test.select(pl.col("context_id").unique()), on="context_id", how="semi")
        .drop_nulls("rating")
        .join(truths, on=["context_id", "item_id"], how="left")
        .group_by(pl.col("rating").round().cast(pl.Int32))
        .agg(pl.len(), pl.col("hit").sum())
        .sort("rating")
    )
    return [
        Rated(rating, count, hits / count, *wilson(int(hits), count))
        for rating, count, hits in rows.iter_rows()
    ]


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Wilson's interval of a share, `hits` of `count` > 0."""
    share, spread = hits / count, Z**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * (share * (1 - share) / count + spread / (4 * count)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)
