"""The rows of an artifact in Parquet files, so that nobody has to hold all of them at once."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from convrec.artifacts.tables import KINDS
from convrec.errors import WarehouseError

if TYPE_CHECKING:
    import duckdb
    import polars as pl

    from convrec.artifacts.identity import ArtifactRef
    from convrec.artifacts.store import Store

ROW_GROUP = 122_880
"""Rows that DuckDB compresses together."""


@dataclass(frozen=True)
class Parts:
    """Rows in files, one after the other; `held` keeps the folder that they lie in."""

    files: tuple[Path, ...]
    held: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @cached_property
    def heights(self) -> list[int]:
        """The number of rows in each file."""
        from pyarrow.parquet import read_metadata

        return [int(read_metadata(file).num_rows) for file in self.files]

    @property
    def height(self) -> int:
        """The number of rows."""
        return sum(self.heights)

    def kept(self) -> Parts:
        """The same rows for one more user: to let go of these leaves the folder to the others."""
        stack = contextlib.ExitStack()
        stack.callback(id, self)
        return Parts(self.files, stack)

    def frame(self) -> pl.DataFrame:
        """All rows at once."""
        import polars as pl

        return pl.concat([pl.read_parquet(file) for file in self.files])


@dataclass(frozen=True)
class Revised(Parts):
    """The rows of an artifact of the same kind, `earlier`, but for some: those in the files.

    A file has a column `row` beside the others: where its rows stand, in place of which.
    """

    earlier: ArtifactRef = field(kw_only=True)
    store: Store = field(kw_only=True)

    @property
    def height(self) -> int:
        """The number of rows."""
        return self.earlier.rows

    def frame(self) -> pl.DataFrame:
        """All rows at once."""
        import polars as pl

        made = super().frame()
        columns = [name for name in made.columns if name != "row"]
        others = self.store.numbered(self.earlier.artifact_id, columns)
        rows = others.join(made, on="row", how="anti").select(made.columns)
        return pl.concat([rows, made]).sort("row").drop("row")


BLOCK = 8 * ROW_GROUP
"""Rows that are sorted at once."""

REPEATING = ("candidates", "judgments")
"""Kinds with short texts that repeat: a dictionary serves them."""

FOR_TEXTS = "fsst,dict_fsst"
"""What makes long texts small; to try it takes a quarter of the time of an insert."""


def _insert_revised(
    connection: duckdb.DuckDBPyConnection, kind: str, artifact_id: str, rows: Revised
) -> None:
    """Insert the rows block by block: DuckDB keeps no order through a join."""
    columns = ", ".join(f'"{name}"' for name in ("row", *KINDS[kind]))
    statement = (
        "WITH made AS (SELECT * FROM read_parquet($files)) "  # noqa: S608
        f'INSERT INTO "{kind}" (artifact_id, {columns}) SELECT $made, {columns} FROM ('
        f'SELECT {columns} FROM "{kind}" ANTI JOIN made USING ("row") WHERE artifact_id = $earlier '
        f'UNION ALL SELECT {columns} FROM made) WHERE "row" >= $start AND "row" < $stop '
        'ORDER BY "row"'
    )
    values = {
        "files": [str(file) for file in rows.files],
        "made": artifact_id,
        "earlier": rows.earlier.artifact_id,
    }
    done = 0
    for start in range(0, rows.height, BLOCK):
        place = {"start": start, "stop": start + BLOCK}
        done += connection.execute(statement, values | place).fetchall()[0][0]
    if done != rows.height:
        raise WarehouseError(
            f"{rows.earlier.artifact_id} was deleted while {kind} was made from it; run again"
        )


def insert(
    connection: duckdb.DuckDBPyConnection, kind: str, artifact_id: str, rows: pl.DataFrame | Parts
) -> None:
    """Insert rows, numbered from 0, into the table of their kind; no file is read as a whole.

    DuckDB gives an Arrow batch to one thread, and lets the others spin where there is one alone.
    """
    import polars as pl
    import pyarrow as pa

    unused = FOR_TEXTS if kind in REPEATING else ""
    connection.execute("SET GLOBAL disabled_compression_methods = ?", [unused])
    if isinstance(rows, Revised):
        _insert_revised(connection, kind, artifact_id, rows)
        return
    columns = ", ".join(f'"{name}"' for name in KINDS[kind])
    into = f'INSERT INTO "{kind}" (artifact_id, "row", {columns}) '
    if not isinstance(rows, Parts):
        numbered = rows.select(list(KINDS[kind])).with_row_index("row")
        table = numbered.to_arrow(compat_level=pl.CompatLevel.newest())  # texts as they lie
        for place, column in enumerate(numbered):
            if column.dtype.is_nested():  # text views in lists that are all empty lie misaligned
                table = table.set_column(place, column.name, column.to_arrow())
        batches = table.to_batches(max_chunksize=ROW_GROUP)
        connection.register("built_rows", pa.Table.from_batches(batches, table.schema))
        connection.execute(f'{into} SELECT ?, "row", {columns} FROM built_rows', [artifact_id])  # noqa: S608
        return
    start = 0
    for file, height in zip(rows.files, rows.heights, strict=True):
        connection.execute(
            f"{into} SELECT ?, ? + file_row_number, {columns} "  # noqa: S608
            "FROM read_parquet(?, file_row_number = true)",
            [artifact_id, start, str(file)],
        )
        start += height
