"""Work over contexts by partition: contiguous ranges of them, each with a file of its own.

A partition's rows are written under another name first, so a file that is there is whole, and a
partition that was lost is made again alone. Ranges begin at a multiple of CHUNK, so that contexts
are computed in the same chunks, to the same last bit, however many partitions there are. Memory is
bounded by the largest partition.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convrec.artifacts.parquet_rows import ParquetRows
from convrec.utils.files import atomic_path
from convrec.utils.workspace import workspace

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from convrec.stages.base import StepContext

CHUNK = 512
"""Contexts computed at once."""

PARTITION = 32_768
"""Contexts in a partition where no number of them is set."""

ROWS = 64 * PARTITION
"""Rows whose contexts are looked for at once."""

SPARSE = 8
"""How many rows are read for one that is wanted, before DuckDB is to pick them."""

Shared = Mapping[str, "pl.LazyFrame"]
"""Tables that every partition reads from, made once."""

Part = Callable[["StepContext", Shared, int, int], Iterator["pl.DataFrame"]]
"""Makes the rows of the contexts from one number up to another, in order, CHUNK of them a frame."""


@dataclass(frozen=True)
class ContextPartition:
    """A partition to be made: by which function, of which contexts, and where its rows go."""

    part: Part
    folder: Path
    start: int
    stop: int
    contexts: int
    shared: tuple[str, ...]

    @property
    def file(self) -> Path:
        """The file with its rows, once it is made."""
        return self.folder / f"rows-{self.start:09}-{self.stop:09}.parquet"

    def make(self, ctx: StepContext) -> None:
        """Write the rows, unless they are there already."""
        import polars as pl

        if not self.file.exists():
            shared = {name: pl.scan_parquet(_table(self.folder, name)) for name in self.shared}
            frames = self.part(ctx, shared, self.start, self.stop)
            write_parquet(self._followed(ctx, frames), self.file)

    def _followed(self, ctx: StepContext, frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        for number, frame in enumerate(frames, start=1):
            yield frame
            ctx.progress(min(self.start + number * CHUNK, self.stop), self.contexts, "contexts")


def build_partitions(
    ctx: StepContext, part: Part, contexts: int, shared: Mapping[str, pl.DataFrame]
) -> ParquetRows:
    """The rows of all contexts, made partition by partition by whoever `job.spread` gives them to.

    They lie in the job's workspace, where what a run that ended early has made is found again.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(workspace(ctx.workspace))
        for name, table in shared.items():
            write_parquet(iter([table]), _table(folder, name))
        pieces = [
            ContextPartition(part, folder, start, stop, contexts, tuple(shared))
            for start, stop in ranges(contexts, ctx.config.runner.partitions)
        ]
        ctx.spread(ctx, pieces)
        return ParquetRows(tuple(piece.file for piece in pieces), stack.pop_all())


def ranges(contexts: int, partitions: int) -> list[tuple[int, int]]:
    """From and up to which context each partition goes; 0 partitions: as many as PARTITION says."""
    size = -(-contexts // partitions) if partitions else PARTITION
    size = -(-size // CHUNK) * CHUNK
    return [(start, min(start + size, contexts)) for start in range(0, contexts, size)]


def slices(ctx: StepContext, role: str, *columns: str) -> Iterator[pl.DataFrame]:
    """The rows of a parent in order, PARTITION at a time and at least once; with `row`."""
    for start, stop in _row_ranges(ctx, role, PARTITION):
        yield ctx.rows(role, start, stop, *columns)


def spans(ctx: StepContext, role: str) -> pl.DataFrame:
    """The contexts of a parent in order: context_id, and its first and last row there."""
    import polars as pl

    if role in ctx.frames:
        row = pl.int_range(pl.len(), dtype=pl.Int64)
        parts = [ctx.frame(role, "context_id").with_columns(first=row, last=row)]
    else:
        parts = [
            ctx.store.select(
                ctx.parents[role].artifact_id,
                'context_id, min("row") AS first, max("row") AS last',
                f'AND "row" >= {start} AND "row" < {stop} GROUP BY context_id ORDER BY first',
            )
            for start, stop in _row_ranges(ctx, role, ROWS)
        ]
    found = pl.concat(parts)
    if found["context_id"].n_unique() == found.height:
        return found
    ends = pl.col("first").min(), pl.col("last").max()
    return found.group_by("context_id", maintain_order=True).agg(ends)


def rows_of(ctx: StepContext, role: str, contexts: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """The rows of some contexts, by their `spans`, in order; with `row`. Others may be among them.

    Where most of what lies between is of others, DuckDB leaves it out: texts that polars has once
    taken stay in memory as long as one of them does.
    """
    start, stop = extent(contexts)
    own = int((contexts["last"] - contexts["first"] + 1).sum())
    if role in ctx.frames or stop - start <= SPARSE * own:
        return ctx.rows(role, start, stop, *columns)
    artifact = ctx.parents[role]
    wanted = ", ".join(f'"{name}"' for name in ("row", *columns))
    with ctx.store.read_connection() as connection:
        connection.register("wanted", contexts.select("context_id").to_arrow())
        found = connection.execute(
            f'SELECT {wanted} FROM "{artifact.kind}" SEMI JOIN wanted USING (context_id) '  # noqa: S608
            f'WHERE artifact_id = ? AND "row" >= {start} AND "row" < {stop}',
            [artifact.artifact_id],
        ).pl()
    return found.sort("row")


def _row_ranges(ctx: StepContext, role: str, size: int) -> Iterator[tuple[int, int]]:
    """From and up to which number rows are read together; forgotten ones leave theirs free."""
    if role in ctx.frames:
        end = ctx.frames[role].height
    else:
        end = ctx.store.select(ctx.parents[role].artifact_id, 'max("row") + 1', "").item() or 0
    for start in range(0, max(end, 1), size):
        yield start, min(start + size, end)


def extent(contexts: pl.DataFrame) -> tuple[int, int]:
    """From and up to which row the rows of some contexts stand, by their `spans`."""
    import polars as pl

    ends = pl.col("first").min(), pl.col("last").max() + 1
    start, stop = contexts.select(end.fill_null(0) for end in ends).row(0)
    return int(start), int(stop)


def write_parquet(frames: Iterator[pl.DataFrame], path: Path) -> None:
    """Write frames of equal columns, at least one, to a file that is whole once it is there."""
    write_tables((frame.to_arrow() for frame in frames), path, compression="zstd")


def write_tables(tables: Iterator[pa.Table], path: Path, **options: Any) -> None:
    """Write Arrow tables as `write_parquet` does frames; `options` are those of the writer."""
    from pyarrow.parquet import ParquetWriter

    first = next(tables)
    with atomic_path(path) as part, ParquetWriter(part, first.schema, **options) as writer:
        writer.write_table(first, PARTITION)
        for table in tables:
            writer.write_table(table.cast(first.schema), PARTITION)


def _table(folder: Path, name: str) -> Path:
    return folder / f"{name}.parquet"
