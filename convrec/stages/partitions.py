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
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
from pyarrow.parquet import ParquetWriter

from convrec.artifacts.parquet_rows import ParquetRows
from convrec.stages.base import StepContext
from convrec.stages.contexts import PARTITION
from convrec.utils.files import atomic_path
from convrec.utils.workspace import workspace

CHUNK = 512
"""Contexts computed at once."""

SharedTables = Mapping[str, pl.LazyFrame]
"""Tables that every partition reads, written once."""

PartitionBuilder = Callable[[StepContext, SharedTables, int, int], Iterator[pl.DataFrame]]
"""Yields the rows of contexts start to stop (exclusive), in order, some contexts a frame."""


class NotedRows(NamedTuple):
    """Rows of some contexts, and what else to say of them, such as why a context failed.

    Both have the same columns in every chunk of a step; `notes` may be empty.
    """

    rows: pl.DataFrame
    notes: pl.DataFrame


NotedBuilder = Callable[[StepContext, SharedTables, int, int], Iterator[NotedRows]]
"""As PartitionBuilder, with notes."""


@dataclass(frozen=True)
class ContextPartition:
    """Contexts `start` to `stop` (exclusive) of `contexts`, built into one Parquet file."""

    build: PartitionBuilder | NotedBuilder
    folder: Path
    start: int
    stop: int
    contexts: int
    shared: tuple[str, ...]
    chunk: int = CHUNK

    @property
    def file(self) -> Path:
        """The file with the rows; its notes, if the step makes any, are complete before it."""
        return self.folder / f"rows-{self.start:09}-{self.stop:09}.parquet"

    def make(self, ctx: StepContext) -> None:
        """Write the rows and notes, unless the file exists."""
        if self.file.exists():
            return
        tables = {name: _table(self.folder, name) for name in self.shared}
        shared = {name: pl.scan_parquet(table, glob=False) for name, table in tables.items()}
        built = self.build(ctx, shared, self.start, self.stop)
        write_parquet(self._rows(ctx, built), self.file)

    def _rows(
        self, ctx: StepContext, built: Iterator[pl.DataFrame | NotedRows]
    ) -> Iterator[pl.DataFrame]:
        """The rows; the notes are written after the last, before the file of the rows appears."""
        notes: list[pl.DataFrame] = []
        for number, chunk in enumerate(built, start=1):
            if isinstance(chunk, NotedRows):
                notes.append(chunk.notes)
                yield chunk.rows
            else:
                yield chunk
            ctx.progress(
                min(self.start + number * self.chunk, self.stop), self.contexts, "contexts"
            )
        if notes:
            pl.concat(notes).write_parquet(_notes_file(self.file))


def build_partitions(
    ctx: StepContext,
    build: PartitionBuilder | NotedBuilder,
    contexts: int,
    shared: Mapping[str, pl.DataFrame],
    *,
    chunk: int = CHUNK,
) -> ParquetRows:
    """The rows of all contexts, built partition by partition with `ctx.spread`.

    `build` yields the rows of `chunk` contexts at a time; `read_notes` has the notes of a
    NotedBuilder. Files are in the workspace, so the partitions of an interrupted run are reused.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(workspace(ctx.workspace))
        for name, table in shared.items():
            write_parquet(iter([table]), _table(folder, name))
        partitions = [
            ContextPartition(build, folder, start, stop, contexts, tuple(shared), chunk)
            for start, stop in ranges(contexts, ctx.config.runner.partitions)
        ]
        ctx.spread(ctx, partitions)
        return ParquetRows(tuple(one.file for one in partitions), stack.pop_all())


def read_notes(rows: ParquetRows) -> pl.DataFrame:
    """The notes of all partitions, in order."""
    return pl.concat([pl.read_parquet(_notes_file(file), glob=False) for file in rows.files])


def ranges(contexts: int, partitions: int) -> list[tuple[int, int]]:
    """(start, stop) of each partition; `partitions=0` takes PARTITION contexts for each."""
    size = -(-contexts // partitions) if partitions else PARTITION
    size = -(-size // CHUNK) * CHUNK
    return [(start, min(start + size, contexts)) for start in range(0, contexts, size)]


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


def _notes_file(rows: Path) -> Path:
    return rows.with_name(f"notes-{rows.name}")


def _table(folder: Path, name: str) -> Path:
    return folder / f"{name}.parquet"
