"""Calibration of the judge: how often a candidate of each rating is a ground truth.

A useful judge has a share that rises with the rating. It is computed on the rated candidates of the
test split, with Wilson intervals, which are valid for few hits.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from convrec.catalog.exact_matches import ItemLinker
from convrec.metrics.bootstrap import CONFIDENCE_Z
from convrec.stages.base import StepContext
from convrec.stages.contexts import split_rows


class RatingHitRate(NamedTuple):
    """A rating, its number of candidates, and the share of them that is a ground truth."""

    rating: int
    candidates: int
    value: float
    low: float
    high: float


def rating_hit_rates(ctx: StepContext) -> list[RatingHitRate]:
    """Return one entry for each rating, lowest first; empty without judgments."""
    if not ctx.has("judgments"):
        return []
    catalog = ctx.frame("catalog")
    items = catalog.select("item_id").with_row_index("item")
    test = split_rows(ctx, "conversations", "test", "context_id", "ground_truth").filter(
        pl.col("ground_truth").list.len() > 0
    )
    truths = (
        ItemLinker(catalog)
        .link(test.select("context_id", "ground_truth"), "ground_truth")
        .unique()
        .join(items, on="item")
        .select("context_id", "item_id", hit=pl.lit(True))
    )
    counts = (
        ctx.frame("judgments", "context_id", "item_id", "rating")
        .join(test.select(pl.col("context_id").unique()), on="context_id", how="semi")
        .drop_nulls("rating")
        .join(truths, on=["context_id", "item_id"], how="left")
        .group_by(pl.col("rating").round().cast(pl.Int32))
        .agg(pl.len(), pl.col("hit").sum())
        .sort("rating")
    )
    return [
        RatingHitRate(rating, count, hits / count, *wilson_interval(int(hits), count))
        for rating, count, hits in counts.iter_rows()
    ]


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """Return the ends of the Wilson interval of the share `hits` / `count`, `count` > 0."""
    share, spread = hits / count, CONFIDENCE_Z**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = CONFIDENCE_Z / (1 + spread) * (share * (1 - share) / count + spread / (4 * count)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)
