"""The demonstrations: what the student is shown, one list a context, in the output format.

Lists of validation and test contexts are written too, to be evaluated; `sft` trains on the train
split alone. Where the data brings its own completions (`recommend.source=provided`), these are the
demonstrations, one a sample, unchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convrec.artifacts import StepResult
from convrec.errors import InputError
from convrec.stages.adjust.candidates import candidate_blocks, read_contexts
from convrec.stages.adjust.figures import popularity_figures, ranking_figures
from convrec.stages.adjust.item_links import training_mentions
from convrec.stages.adjust.split import read_answers
from convrec.stages.adjust.top_n import NONE, final_scores, top_items
from convrec.stages.base import Step, StepContext
from convrec.stages.partitions import CHUNK, Shared, build_partitions, spans
from convrec.titles.index import TitleIndex

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import polars as pl

    from convrec.artifacts.parquet_rows import ParquetRows
    from convrec.config import Config
    from convrec.stages.adjust.figures import Tops

SCHEMA = ("context_id", "sample_id", "split", "items", "completion")


def _build(ctx: StepContext) -> StepResult:
    provided = ctx.config.recommend.source == "provided"
    made, splits, figures = _provided(ctx) if provided else _adjusted(ctx)
    if splits.is_empty():
        raise InputError(
            "there is no demonstration to learn from: no context has a list; with "
            "recommend.source=provided the data needs a `completion`, else look at teacher_lists"
        )
    counts = splits.value_counts(sort=True).sort("count", "split", descending=[True, False])
    return StepResult(
        made, {**{f"{split} lists": count for split, count in counts.iter_rows()}, **figures}
    )


def _adjusted(ctx: StepContext) -> tuple[ParquetRows, pl.Series, dict[str, float]]:
    import numpy as np
    import polars as pl

    n, contexts = ctx.config.list_length, read_contexts(ctx)
    adjustment = _adjustment(ctx) if ctx.has("adjustment") else None
    tops = {"before": np.full((contexts.height, n), NONE, dtype=np.int32)}
    if adjustment is not None:
        tops["after"] = tops["before"].copy()
    for block in candidate_blocks(ctx, contexts):
        tops["before"][block.numbers] = top_items(block, n)
        if adjustment is not None:
            tops["after"][block.numbers] = top_items(block, n, final_scores(block, *adjustment))
    top = list(tops.values())[-1]
    short = int((top[:, n - 1] == NONE).sum())
    figures = {"shorter than list_length": short, **_figures(ctx, contexts, tops)}
    del tops
    lists = contexts.with_columns(pl.Series("top", top, dtype=pl.Array(pl.Int32, n)))
    order = spans(ctx, "conversations").select("context_id")
    lists = order.join(
        lists.select("context_id", "split", pl.col("top").arr.to_list()),
        on="context_id",
        maintain_order="left",
    )
    return build_partitions(ctx, _part, lists.height, {"lists": lists}), lists["split"], figures


def _part(ctx: StepContext, shared: Shared, start: int, stop: int) -> Iterator[pl.DataFrame]:
    """The demonstrations of some of the contexts."""
    import polars as pl

    catalog = ctx.frame("catalog", "item_id", "title", "year")
    write = ctx.config.line_format.format
    lines = [write(title, year) for _, title, year in catalog.iter_rows()]
    items = catalog.select("item_id").with_columns(pl.Series("line", lines, dtype=pl.String))
    for lists in shared["lists"].slice(start, stop - start).collect().iter_slices(CHUNK):
        yield demonstration_rows(lists, items)


def _adjustment(ctx: StepContext) -> tuple[np.ndarray, np.ndarray]:
    """w and b by catalog row; 1 and 0 for an item that has none."""
    rows = ctx.frame("catalog", "item_id")
    rows = rows.join(ctx.frame("adjustment"), on="item_id", how="left", maintain_order="left")
    return rows["weight"].fill_null(1.0).to_numpy(), rows["bias"].fill_null(0.0).to_numpy()


def _figures(ctx: StepContext, contexts: pl.DataFrame, tops: Tops) -> dict[str, float]:
    """Popularity of the train and test lists, and how validation lists rank; no test answer."""
    mentions = training_mentions(ctx)
    split = contexts["split"].to_numpy()
    figures = {}
    for name in ("train", "test"):
        chosen = {when: top[split == name] for when, top in tops.items()}
        figures.update(popularity_figures(chosen, mentions, name))
    return {**figures, **ranking_figures(tops, read_answers(ctx, "validation", contexts))}


def demonstration_rows(lists: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """One row a context, in order, with SCHEMA's columns.

    `lists` has context_id, split and top, catalog rows with NONE past the end; `items` has item_id
    and line, how the item is written, in the order of the catalog.
    """
    import polars as pl

    flat = lists.select("context_id", "top").explode("top").filter(pl.col("top") != NONE)
    named = flat["top"]
    made = (
        flat.select(
            "context_id",
            items=items["item_id"].gather(named),
            completion=items["line"].gather(named),
        )
        .group_by("context_id", maintain_order=True)
        .agg("items", pl.col("completion").str.join("\n"))
    )
    return (
        lists.select("context_id", "split")
        .join(made, on="context_id", how="left", maintain_order="left")
        .with_columns(
            pl.lit(None, dtype=pl.String).alias("sample_id"),
            pl.col("items").fill_null([]),
            pl.col("completion").fill_null(""),
        )
        .select(SCHEMA)
    )


def _provided(ctx: StepContext) -> tuple[pl.DataFrame, pl.Series, dict[str, float]]:
    import polars as pl

    catalog = ctx.frame("catalog", "item_id", "title", "year")
    index = TitleIndex(catalog.iter_rows())
    columns = ("context_id", "sample_id", "split", "completion")
    rows: list[tuple[Any, ...]] = []
    lines = 0
    for owner, sample, split, text in ctx.frame("conversations", *columns).iter_rows():
        if not text:
            continue
        written = [item for item in map(ctx.config.line_format.parse, text.split("\n")) if item]
        found = [index.find(item.title, item.year) for item in written]
        lines += len(written)
        rows.append((owner, sample, split, [item for item in found if item], text.strip("\n")))
    inside = sum(len(row[3]) for row in rows)
    frame = pl.DataFrame(
        rows,
        schema=dict.fromkeys(SCHEMA, pl.String) | {"items": pl.List(pl.String)},
        orient="row",
    )
    return frame, frame["split"], {"in catalog": round(inside / max(lines, 1), 4)}


def _config(config: Config) -> dict[str, Any]:
    provided = config.recommend.source == "provided"
    return {"list_length": config.list_length, "provided": provided, **config.line_format.key}


DEMONSTRATIONS = Step(
    stage="adjust", kind="demonstrations", version=2, build=_build, config=_config
)
