"""The rows of an artifact in Parquet files, so that nobody has to hold all of them at once."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from convrec.artifacts.tables import KINDS

if TYPE_CHECKING:
    import duckdb
    import polars as pl

ROW_GROUP_SIZE = 122_880
"""Rows that DuckDB compresses together."""


@dataclass(frozen=True)
class ParquetRows:
    """Rows in files, one after the other; `held` keeps the folder that they lie in."""

    files: tuple[Path, ...]
    cleanup: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @cached_property
    def heights(self) -> list[int]:
        """The number of rows in each file."""
        from pyarrow.parquet import read_metadata

        return [int(read_metadata(file).num_rows) for file in self.files]

    @property
    def height(self) -> int:
        """The number of rows."""
        return sum(self.heights)

    def share(self) -> ParquetRows:
        """The same rows for one more user: to let go of these leaves the folder to the others."""
        stack = contextlib.ExitStack()
        stack.callback(id, self)
        return ParquetRows(self.files, stack)

    def frame(self) -> pl.DataFrame:
        """All rows at once."""
        import polars as pl

        return pl.concat([pl.read_parquet(file) for file in self.files])

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
    """Insert rows, numbered from 0, into the table of their kind; no file is read as a whole.

    DuckDB gives an Arrow batch to one thread, and lets the others spin where there is one alone.
    """
    import polars as pl
    import pyarrow as pa

    if isinstance(rows, ParquetRows):
        rows.insert(connection, kind, artifact_id)
        return
    numbered = rows.select(list(KINDS[kind])).with_row_index("row")
    table = numbered.to_arrow(compat_level=pl.CompatLevel.newest())  # texts as they lie
    for place, column in enumerate(numbered):
        if column.dtype.is_nested():  # text views in lists that are all empty lie misaligned
            table = table.set_column(place, column.name, column.to_arrow())
    batches = table.to_batches(max_chunksize=ROW_GROUP_SIZE)
    connection.register("built_rows", pa.Table.from_batches(batches, table.schema))
    columns = column_list(kind)
    connection.execute(
        f'INSERT INTO "{kind}" (artifact_id, "row", {columns}) '  # noqa: S608
        f'SELECT ?, "row", {columns} FROM built_rows',
        [artifact_id],
    )


def column_list(kind: str) -> str:
    """The columns of a kind's own, as SQL."""
    return ", ".join(f'"{name}"' for name in KINDS[kind])
