"""The demonstrations artifact: the top N by s_final as a list of lines, one list a context.

With `adjust.ground_truth_first` there is one list for each training sample, and it begins with the
sample's ground truth.
`sft` trains on the lists of the train split. Lists of the other splits are written for evaluation.
If the data brings its own completions (`recommend.source=provided`), these are the demonstrations,
unchanged, one a sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from convrec.artifacts import StepResult
from convrec.artifacts.parquet_rows import ParquetRows
from convrec.config import Config
from convrec.errors import InputError
from convrec.stages.adjust.candidates import candidate_blocks, read_contexts
from convrec.stages.adjust.figures import TopLists, popularity_figures, ranking_figures
from convrec.stages.adjust.folds import context_folds
from convrec.stages.adjust.ground_truth import (
    ground_truth_counts,
    read_ground_truth,
    seen_inputs,
)
from convrec.stages.adjust.ground_truth_first import put_ground_truth_first
from convrec.stages.adjust.top_n import NO_ITEM, final_scores, top_items
from convrec.stages.base import Step, StepContext
from convrec.stages.catalog_titles import alias_inputs
from convrec.stages.contexts import catalog_lines, context_spans
from convrec.stages.partitions import CHUNK, SharedTables, build_partitions
from convrec.titles.index import TitleIndex
from convrec.utils.folds import fold_item_id

COLUMNS = ("context_id", "sample_id", "split", "items", "completion")


def _build(ctx: StepContext) -> StepResult:
    provided = ctx.config.recommend.source == "provided"
    rows, splits, figures = _provided_lists(ctx) if provided else _adjusted_lists(ctx)
    if splits.is_empty():
        raise InputError(
            "there is no demonstration to train on: no context has a list. With "
            "recommend.source=provided the data needs a `completion`; otherwise look at the "
            "teacher_lists artifact"
        )
    counts = splits.value_counts().sort("count", "split", descending=[True, False])
    lists = {f"{split} lists": count for split, count in counts.iter_rows()}
    return StepResult(rows, {**lists, **figures})


def _adjusted_lists(ctx: StepContext) -> tuple[ParquetRows, pl.Series, dict[str, float]]:
    """Build (rows, split of each row, figures) from candidates, judgments and adjustment."""
    n, contexts = ctx.config.list_length, read_contexts(ctx)
    adjustment = _read_adjustment(ctx) if ctx.has("adjustment") else None
    folds = context_folds(ctx, contexts)
    lists = {"before": np.full((contexts.height, n), NO_ITEM, dtype=np.int32)}
    if adjustment is not None:
        lists["after"] = lists["before"].copy()
    for block in candidate_blocks(ctx, contexts):
        lists["before"][block.context_numbers] = top_items(block, n)
        if adjustment is not None:
            scores = final_scores(block, *adjustment, folds[block.context_numbers])
            lists["after"][block.context_numbers] = top_items(block, n, scores)
    final = lists["before"] if adjustment is None else lists["after"]
    figures = _figures(ctx, contexts, lists)
    del lists
    tops = contexts.with_columns(pl.Series("top", final, dtype=pl.Array(pl.Int32, n)))
    order = context_spans(ctx, "conversations").select("context_id")
    tops = order.join(
        tops.select("context_id", "split", pl.col("top").arr.to_list()),
        on="context_id",
        maintain_order="left",
    ).with_columns(sample_id=pl.lit(None, dtype=pl.String))
    if ctx.config.adjust.ground_truth_first:
        tops = put_ground_truth_first(ctx, tops)
    last = tops["top"].list.get(n - 1, null_on_oob=True).fill_null(NO_ITEM)
    short = int((last == NO_ITEM).sum())
    rows = build_partitions(ctx, _build_partition, tops.height, {"lists": tops})
    return rows, tops["split"], {"shorter than list_length": short, **figures}


def _build_partition(
    ctx: StepContext, shared: SharedTables, start: int, stop: int
) -> Iterator[pl.DataFrame]:
    """Build the demonstrations of the contexts `start` to `stop`, CHUNK contexts a frame."""
    items = catalog_lines(ctx, "line", ctx.config.line_format)
    for lists in shared["lists"].slice(start, stop - start).collect().iter_slices(CHUNK):
        yield demonstration_rows(lists, items)


def _read_adjustment(ctx: StepContext) -> tuple[np.ndarray, np.ndarray]:
    """Read w and b, both (folds + 1, items); an item without them has 1 and 0."""
    items, folds = ctx.frame("catalog", "item_id")["item_id"], range(ctx.config.adjust.folds + 1)
    rows = pl.DataFrame({"item_id": [fold_item_id(fold, item) for fold in folds for item in items]})
    rows = rows.join(ctx.frame("adjustment"), on="item_id", how="left", maintain_order="left")
    shape = (len(folds), len(items))
    weight, bias = rows["weight"].fill_null(1.0), rows["bias"].fill_null(0.0)
    return weight.to_numpy().reshape(shape), bias.to_numpy().reshape(shape)


def _figures(ctx: StepContext, contexts: pl.DataFrame, lists: TopLists) -> dict[str, float]:
    """Compute popularity of train and test lists and ranking on validation; no test answer."""
    mentions = ground_truth_counts(ctx)
    split = contexts["split"].to_numpy()
    figures = {}
    for name in ("train", "test"):
        chosen = {when: top[split == name] for when, top in lists.items()}
        figures.update(popularity_figures(chosen, mentions, name))
    return {**figures, **ranking_figures(lists, read_ground_truth(ctx, "validation", contexts))}


def demonstration_rows(lists: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Turn lists into rows with COLUMNS, one a list, in the same order.

    `lists` has context_id, sample_id, split, and top: catalog rows, NO_ITEM past the end of a list.
    `items` has item_id and line (the item's text in a completion), in catalog order.
    """
    lists = lists.with_row_index("list")
    flat = lists.select("list", "top").explode("top").filter(pl.col("top") != NO_ITEM)
    completions = (
        flat.select(
            "list",
            items=items["item_id"].gather(flat["top"]),
            completion=items["line"].gather(flat["top"]),
        )
        .group_by("list", maintain_order=True)
        .agg("items", pl.col("completion").str.join("\n"))
    )
    return (
        lists.join(completions, on="list", how="left", maintain_order="left")
        .with_columns(
            pl.col("items").fill_null([]),
            pl.col("completion").fill_null(""),
        )
        .select(COLUMNS)
    )


def _provided_lists(ctx: StepContext) -> tuple[pl.DataFrame, pl.Series, dict[str, float]]:
    """Build (rows, split of each row, figures) from the completions in the data."""
    index = TitleIndex(ctx.frame("catalog", "item_id", "title", "year").iter_rows())
    columns = ("context_id", "sample_id", "split", "completion")
    rows: list[tuple[Any, ...]] = []
    lines = 0
    for context, sample, split, text in ctx.frame("conversations", *columns).iter_rows():
        if not text:
            continue
        titles = [title for title in map(ctx.config.line_format.parse, text.split("\n")) if title]
        items = [index.find(title.title, title.year) for title in titles]
        lines += len(titles)
        rows.append((context, sample, split, [item for item in items if item], text.strip("\n")))
    in_catalog = sum(len(row[3]) for row in rows)
    frame = pl.DataFrame(
        rows,
        schema=dict.fromkeys(COLUMNS, pl.String) | {"items": pl.List(pl.String)},
        orient="row",
    )
    return frame, frame["split"], {"in catalog": round(in_catalog / max(lines, 1), 4)}


def _config(config: Config) -> dict[str, Any]:
    settings = {
        "list_length": config.list_length,
        "provided": config.recommend.source == "provided",
        **config.adjust.identity_settings("ground_truth_first"),
    }
    return settings | config.line_format.identity_settings


DEMONSTRATIONS = Step(
    stage="adjust",
    kind="demonstrations",
    version=2,
    build=_build,
    config=_config,
    inputs=lambda ctx: (
        {} if ctx.config.recommend.source == "provided" else seen_inputs(ctx) | alias_inputs(ctx)
    ),
)
