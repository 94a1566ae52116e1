"""Steps that go through contexts in partitions: contiguous ranges, each with a file of its rows.

A file appears only when it is complete, so a lost partition is built again alone. Ranges begin at a
multiple of CHUNK: contexts are computed in the same chunks, to the last bit, whatever the number of
partitions. The largest partition bounds the memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from pyarrow.parquet import ParquetWriter

from convrec.artifacts.parquet_rows import ParquetRows
from convrec.stages.base import StepContext
from convrec.titles.line_format import LineFormat
from convrec.utils.files import atomic_path
from convrec.utils.workspace import workspace

CHUNK = 512
"""Contexts computed at once."""

PARTITION = 32_768
"""Contexts in a partition if their number is not configured."""

SPAN_ROWS = 64 * PARTITION
"""Rows whose contexts are looked up at once."""

SPARSE = 8
"""Rows read for each wanted one, above which DuckDB filters them instead."""

SharedTables = Mapping[str, pl.LazyFrame]
"""Tables that every partition reads, written once."""

PartitionBuilder = Callable[[StepContext, SharedTables, int, int], Iterator[pl.DataFrame]]
"""Yields the rows of contexts start to stop (exclusive), in order, CHUNK contexts a frame."""


@dataclass(frozen=True)
class ContextPartition:
    """Contexts `start` to `stop` (exclusive) of `contexts`, built into one Parquet file."""

    build: PartitionBuilder
    folder: Path
    start: int
    stop: int
    contexts: int
    shared: tuple[str, ...]

    @property
    def file(self) -> Path:
        """The file with the rows."""
        return self.folder / f"rows-{self.start:09}-{self.stop:09}.parquet"

    def make(self, ctx: StepContext) -> None:
        """Write the rows, unless the file exists."""
        if not self.file.exists():
            tables = {name: _table(self.folder, name) for name in self.shared}
            shared = {name: pl.scan_parquet(table, glob=False) for name, table in tables.items()}
            frames = self.build(ctx, shared, self.start, self.stop)
            write_parquet(self._with_progress(ctx, frames), self.file)

    def _with_progress(
        self, ctx: StepContext, frames: Iterator[pl.DataFrame]
    ) -> Iterator[pl.DataFrame]:
        for number, frame in enumerate(frames, start=1):
            yield frame
            ctx.progress(min(self.start + number * CHUNK, self.stop), self.contexts, "contexts")


def build_partitions(
    ctx: StepContext, build: PartitionBuilder, contexts: int, shared: Mapping[str, pl.DataFrame]
) -> ParquetRows:
    """The rows of all contexts, built partition by partition with `ctx.spread`.

    Files are in the workspace, so the partitions of an interrupted run are reused.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(workspace(ctx.workspace))
        for name, table in shared.items():
            write_parquet(iter([table]), _table(folder, name))
        partitions = [
            ContextPartition(build, folder, start, stop, contexts, tuple(shared))
            for start, stop in ranges(contexts, ctx.config.runner.partitions)
        ]
        ctx.spread(ctx, partitions)
        return ParquetRows(tuple(one.file for one in partitions), stack.pop_all())


def ranges(contexts: int, partitions: int) -> list[tuple[int, int]]:
    """(start, stop) of each partition; `partitions=0` takes PARTITION contexts for each."""
    size = -(-contexts // partitions) if partitions else PARTITION
    size = -(-size // CHUNK) * CHUNK
    return [(start, min(start + size, contexts)) for start in range(0, contexts, size)]


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


def row_range(contexts: pl.DataFrame) -> tuple[int, int]:
    """(start, stop) of the rows of some contexts, given by their spans."""
    ends = pl.col("first").min(), pl.col("last").max() + 1
    start, stop = contexts.select(end.fill_null(0) for end in ends).row(0)
    return int(start), int(stop)


def write_parquet(frames: Iterator[pl.DataFrame], path: Path) -> None:
    """Write frames with equal columns, at least one, to a file that appears when complete."""
    write_tables((frame.to_arrow() for frame in frames), path, compression="zstd")


def write_tables(tables: Iterator[pa.Table], path: Path, **options: Any) -> None:
    """Write Arrow tables like `write_parquet`; `options` are those of ParquetWriter."""
    first = next(tables)
    with atomic_path(path) as part, ParquetWriter(part, first.schema, **options) as writer:
        writer.write_table(first, PARTITION)
        for table in tables:
            writer.write_table(table.cast(first.schema), PARTITION)


def _table(folder: Path, name: str) -> Path:
    return folder / f"{name}.parquet"


def unique_conversations(ctx: StepContext) -> pl.DataFrame:
    """One row per context (context_id, conversation), in order."""
    conversations = ctx.frame("conversations", "context_id", "conversation")
    return conversations.unique("context_id", keep="first", maintain_order=True)


def catalog_lines(ctx: StepContext, name: str, form: LineFormat) -> pl.DataFrame:
    """The catalog in order: item_id, and column `name`, the item's line in the format `form`."""
    catalog = ctx.frame("catalog", "item_id", "title", "year")
    form = form.for_titles(catalog["title"])
    lines = [form.format(title, year) for _, title, year in catalog.iter_rows()]
    return catalog.select("item_id", pl.Series(name, lines, dtype=pl.String))
