"""The rows of an artifact in Parquet files, for artifacts that may not fit into memory."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
from pyarrow.parquet import read_metadata

from convrec.artifacts.tables import KINDS

ROW_GROUP_SIZE = 122_880
"""Rows that DuckDB compresses together."""


@dataclass(frozen=True)
class ParquetRows:
    """Rows in files, one after the other. Closing `cleanup` deletes the folder of the files."""

    files: tuple[Path, ...]
    cleanup: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @cached_property
    def heights(self) -> list[int]:
        """The number of rows in each file."""
        return [int(read_metadata(file).num_rows) for file in self.files]

    @property
    def height(self) -> int:
        """The number of rows."""
        return sum(self.heights)

    def share(self) -> ParquetRows:
        """The same rows for a second user; closing these does not delete the folder."""
        stack = contextlib.ExitStack()
        stack.callback(id, self)  # keeps `self`, and with it the folder, alive
        return ParquetRows(self.files, stack)

    def scan(self) -> pl.LazyFrame:
        """All rows, not yet read."""
        return pl.scan_parquet(list(self.files), glob=False)

    def frame(self) -> pl.DataFrame:
        """All rows in one frame."""
        return pl.concat([pl.read_parquet(file, glob=False) for file in self.files])

    def insert(self, connection: duckdb.DuckDBPyConnection, kind: str, artifact_id: str) -> None:
        """Insert the rows into the table of their kind."""
        columns, start = column_list(kind), 0
        for file, height in zip(self.files, self.heights, strict=True):
            connection.execute(
                f'INSERT INTO "{kind}" (artifact_id, "row", {columns}) '  # noqa: S608
                f"SELECT ?, ? + file_row_number, {columns} "
                "FROM read_parquet(?, file_row_number = true)",
                [artifact_id, start, str(file)],
            )
            start += height


def insert_rows(
    connection: duckdb.DuckDBPyConnection,
    kind: str,
    artifact_id: str,
    rows: pl.DataFrame | ParquetRows,
) -> None:
    """Insert rows, numbered from 0, into the table of their kind.

    DuckDB gives each Arrow batch to one thread, so a frame is split into batches of a row group.
    """
    if isinstance(rows, ParquetRows):
        rows.insert(connection, kind, artifact_id)
        return
    numbered = rows.select(list(KINDS[kind])).with_row_index("row")
    table = numbered.to_arrow(compat_level=pl.CompatLevel.newest())  # no copy of texts
    for index, column in enumerate(numbered):
        if column.dtype.is_nested():  # text views in lists that are all empty are misaligned
            table = table.set_column(index, column.name, column.to_arrow())
    batches = table.to_batches(max_chunksize=ROW_GROUP_SIZE)
    connection.register("built_rows", pa.Table.from_batches(batches, table.schema))
    columns = column_list(kind)
    connection.execute(
        f'INSERT INTO "{kind}" (artifact_id, "row", {columns}) '  # noqa: S608
        f'SELECT ?, "row", {columns} FROM built_rows',
        [artifact_id],
    )


def column_list(kind: str) -> str:
    """The columns of a kind as an SQL list, without artifact_id and row."""
    return ", ".join(f'"{name}"' for name in KINDS[kind])
