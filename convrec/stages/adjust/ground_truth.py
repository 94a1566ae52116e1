"""Titles in conversations, seen or in the ground truth, linked to rows of the catalog."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import polars as pl

from convrec.catalog.exact_matches import ItemLinker, filter_splits
from convrec.stages.base import StepContext
from convrec.stages.contexts import row_slices
from convrec.titles.index import TitleIndex
from convrec.titles.normalize import exact_key
from convrec.utils.latest_value import LatestValue

_LATEST_SEEN: LatestValue[dict[str, str]] = LatestValue()
"""The adjustment and the demonstrations of a run need the same value."""


@dataclass(frozen=True)
class GroundTruth:
    """The ground truth of the samples of one split.

    `samples` has one row a sample with a ground truth and candidates: sample (its number), context,
    size (number of titles in the ground truth). `items` has one row a ground-truth title that the
    catalog has: sample, context, item.
    """

    split: str
    samples: pl.DataFrame
    items: pl.DataFrame


def read_seen(ctx: StepContext, contexts: pl.DataFrame) -> pl.DataFrame:
    """Read the items seen in each of `contexts` (context_id, context): columns context, item.

    A seen title stands for every item that it may mean, as in rewards and metrics, so that no
    demonstration teaches a line that counts as seen.
    """
    linker, parts = _item_linker(ctx), []
    for samples in row_slices(ctx, "conversations", "context_id", "seen"):
        chosen = samples.join(contexts.select("context_id", "context"), on="context_id")
        parts.append(linker.link(chosen.select("context", "seen"), "seen", to_all=True))
    return pl.concat(parts)


def seen_inputs(ctx: StepContext) -> dict[str, str]:
    """That a seen title means several items, as an input of the step; empty if none does."""
    columns = ("item_id", "title", "year")
    if ctx.frames.keys() & {"catalog", "conversations"}:
        return _seen_inputs(ctx, ctx.frame("catalog", *columns))
    catalog, conversations = (
        ctx.parents[role].artifact_id for role in ("catalog", "conversations")
    )
    return _LATEST_SEEN.get(
        (ctx.store.home, catalog, conversations),
        lambda: _seen_inputs(ctx, ctx.store.query(catalog, ", ".join(columns))),
    )


def _seen_inputs(ctx: StepContext, catalog: pl.DataFrame) -> dict[str, str]:
    """Reads the conversations only if the catalog has a title twice."""
    keys = Counter(map(exact_key, catalog["title"]))
    twice = {key for key, count in keys.items() if count > 1}
    index = TitleIndex(catalog.iter_rows())
    for samples in row_slices(ctx, "conversations", "seen") if twice else ():
        titles = samples.select("seen").explode("seen").drop_nulls().unnest("seen").unique()
        for title, year in titles.iter_rows():
            if exact_key(title) in twice and len(index.find_all(title, year)) > 1:
                return {"seen": "all items of a title"}
    return {}


def read_ground_truth(ctx: StepContext, split: str, contexts: pl.DataFrame) -> GroundTruth:
    """Read the ground truth of a split's samples in `contexts` (context_id, context)."""
    linker, count = _item_linker(ctx), 0
    samples: list[pl.DataFrame] = []
    items: list[pl.DataFrame] = []
    for rows in row_slices(ctx, "conversations", "context_id", "split", "ground_truth"):
        chosen = (
            filter_splits(rows, {split})
            .select("context_id", "ground_truth", size=pl.col("ground_truth").list.len())
            .filter(pl.col("size") > 0)
            .join(contexts.select("context_id", "context"), on="context_id", maintain_order="left")
            .drop("context_id")
            .with_row_index("sample", offset=count)
        )
        count += chosen.height
        samples.append(chosen.drop("ground_truth"))
        items.append(linker.link(chosen.drop("size"), "ground_truth").unique())
    return GroundTruth(split, pl.concat(samples), pl.concat(items))


def link_ground_truth(ctx: StepContext, samples: pl.DataFrame) -> pl.DataFrame:
    """Link the column `ground_truth` of some samples: one row for each title that is an item."""
    return _item_linker(ctx).link(samples, "ground_truth")


def ground_truth_counts(ctx: StepContext) -> np.ndarray:
    """(items,) In how many training samples each catalog item is a ground truth."""
    linker = _item_linker(ctx)
    counts = np.zeros(ctx.frame("catalog", "item_id").height)
    for samples in row_slices(ctx, "conversations", "split", "ground_truth"):
        train = filter_splits(samples, {"train"}).select("row", "ground_truth")
        items = linker.link(train, "ground_truth").unique()["item"].to_numpy()
        counts += np.bincount(items, minlength=len(counts))
    return counts


def _item_linker(ctx: StepContext) -> ItemLinker:
    return ItemLinker(ctx.frame("catalog"))
