"""The rows of an artifact by context, read in parts that bound the memory.

A table of contexts is small: an id and row numbers, about 50 bytes each. Texts are read for
PARTITION contexts at a time.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from convrec.stages.base import StepContext
from convrec.titles.line_format import LineFormat

PARTITION = 32_768
"""Contexts, or rows, read together."""

SPAN_ROWS = 64 * PARTITION
"""Rows whose contexts are looked up at once."""

SPARSE = 8
"""Rows read for each wanted one, above which DuckDB filters them instead."""


def row_slices(ctx: StepContext, role: str, *columns: str) -> Iterator[pl.DataFrame]:
    """The rows of a parent in order, PARTITION at a time, with column `row`; at least one frame."""
    for start, stop in _row_ranges(ctx, role, PARTITION):
        yield ctx.rows(role, start, stop, *columns)


def context_spans(ctx: StepContext, role: str) -> pl.DataFrame:
    """The contexts of a parent in order: context_id, and its first and last row."""
    if role in ctx.frames:
        row = pl.int_range(pl.len(), dtype=pl.Int64)
        parts = [ctx.frame(role, "context_id").with_columns(first=row, last=row)]
    else:
        parts = [
            ctx.store.query(
                ctx.parents[role].artifact_id,
                'context_id, min("row") AS first, max("row") AS last',
                f'AND "row" >= {start} AND "row" < {stop} GROUP BY context_id ORDER BY first',
            )
            for start, stop in _row_ranges(ctx, role, SPAN_ROWS)
        ]
    spans = pl.concat(parts)
    if spans["context_id"].n_unique() == spans.height:
        return spans
    ends = pl.col("first").min(), pl.col("last").max()
    return spans.group_by("context_id", maintain_order=True).agg(ends)


def rows_of_contexts(
    ctx: StepContext, role: str, contexts: pl.DataFrame, *columns: str
) -> pl.DataFrame:
    """The rows of some contexts, given by their spans, in order, with column `row`.

    Rows of other contexts may be among them, unless most are: then DuckDB filters, because polars
    keeps all texts of a frame in memory as long as one of them is used.
    """
    start, stop = row_range(contexts)
    wanted = int((contexts["last"] - contexts["first"] + 1).sum())
    if role in ctx.frames or stop - start <= SPARSE * wanted:
        return ctx.rows(role, start, stop, *columns)
    artifact = ctx.parents[role]
    selected = ", ".join(f'"{name}"' for name in ("row", *columns))
    with ctx.store.read_connection() as connection:
        connection.register("wanted", contexts.select("context_id").to_arrow())
        rows = connection.execute(
            f'SELECT {selected} FROM "{artifact.kind}" SEMI JOIN wanted USING (context_id) '  # noqa: S608
            f'WHERE artifact_id = ? AND "row" >= {start} AND "row" < {stop}',
            [artifact.artifact_id],
        ).pl()
    return rows.sort("row")


def _row_ranges(ctx: StepContext, role: str, size: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of the rows to read together; forgotten rows leave their numbers unused."""
    if role in ctx.frames:
        end = ctx.frames[role].height
    else:
        end = ctx.store.query(ctx.parents[role].artifact_id, 'max("row") + 1', "").item() or 0
    for start in range(0, max(end, 1), size):
        yield start, min(start + size, end)


def rows_by_id(ctx: StepContext, role: str, context_ids: pl.Series, *columns: str) -> pl.DataFrame:
    """The rows of some contexts (context_id and `columns`), given by their ids, in order."""
    wanted = context_ids.unique().to_frame("context_id")
    spans = context_spans(ctx, role).join(wanted, on="context_id", how="semi")
    rows = rows_of_contexts(ctx, role, spans, "context_id", *columns)
    return rows.join(wanted, on="context_id", how="semi", maintain_order="left").drop("row")


def split_rows(ctx: StepContext, role: str, split: str, *columns: str) -> pl.DataFrame:
    """The rows of a split (`columns`), in order."""
    if role in ctx.frames:
        return ctx.frames[role].filter(pl.col("split") == split).select(columns)
    artifact_id = ctx.parents[role].artifact_id
    return ctx.store.read_ordered(artifact_id, columns, f"AND split = '{split}'").drop("row")


def row_range(contexts: pl.DataFrame) -> tuple[int, int]:
    """(start, stop) of the rows of some contexts, given by their spans."""
    ends = pl.col("first").min(), pl.col("last").max() + 1
    start, stop = contexts.select(end.fill_null(0) for end in ends).row(0)
    return int(start), int(stop)


def conversation_contexts(ctx: StepContext) -> pl.DataFrame:
    """The contexts of the conversations in order: context_id, and `row`, their first row."""
    return context_spans(ctx, "conversations").select("context_id", row="first")


def read_texts(ctx: StepContext, contexts: pl.DataFrame) -> pl.DataFrame:
    """The texts (context_id, conversation) of some `conversation_contexts`, in order."""
    spans = contexts.select("context_id", first="row", last="row")
    rows = rows_of_contexts(ctx, "conversations", spans, "context_id", "conversation")
    first = rows.join(contexts, on="row", how="semi", maintain_order="left")
    return first.select("context_id", "conversation")


def text_slices(ctx: StepContext, contexts: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Like `read_texts`, PARTITION contexts at a time."""
    for part in contexts.iter_slices(PARTITION):
        yield read_texts(ctx, part)


def catalog_lines(ctx: StepContext, name: str, form: LineFormat) -> pl.DataFrame:
    """The catalog in order: item_id, and column `name`, the item's line in the format `form`."""
    catalog = ctx.frame("catalog", "item_id", "title", "year")
    form = form.for_titles(catalog["title"])
    lines = [form.format(title, year) for _, title, year in catalog.iter_rows()]
    return catalog.select("item_id", pl.Series(name, lines, dtype=pl.String))
