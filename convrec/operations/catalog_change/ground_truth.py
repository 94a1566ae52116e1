"""Ground truths that a catalog edit puts out of reach: no list can hit them any more."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from convrec.artifacts import Store
from convrec.catalog.exact_matches import ItemLinker, filter_splits

HELD_OUT = ("validation", "test")


@dataclass(frozen=True)
class LostGroundTruths:
    """Samples of validation and test by what the edit does to their ground truth.

    Attributes:
        samples: Samples that had an item of the catalog in their ground truth.
        reduced: Those that have fewer now.
        lost: Those that have none now.
    """

    samples: int
    reduced: int
    lost: int


def lost_ground_truths(
    store: Store, conversations: str, old_catalog: str, new_catalog: str
) -> LostGroundTruths:
    """Compare how many titles of each ground truth the old and the new catalog have."""
    rows = store.read(conversations, "sample_id", "split", "ground_truth")
    held_out = filter_splits(rows, set(HELD_OUT)).select("sample_id", "ground_truth")
    old, new = (_counts(store, catalog, held_out) for catalog in (old_catalog, new_catalog))
    both = old.join(new, on="sample_id", how="left", suffix="_new").fill_null(0)
    return LostGroundTruths(
        samples=both.height,
        reduced=both.filter(pl.col("items_new") < pl.col("items")).height,
        lost=both.filter(pl.col("items_new") == 0).height,
    )


def _counts(store: Store, catalog: str, samples: pl.DataFrame) -> pl.DataFrame:
    """How many items each ground truth has: sample_id, items; no row for none."""
    linked = ItemLinker(store.read(catalog)).link(samples, "ground_truth").unique()
    return linked.group_by("sample_id").agg(items=pl.len())
