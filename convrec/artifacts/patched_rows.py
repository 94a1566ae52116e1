"""The rows of an earlier artifact with some of them replaced. DuckDB copies the others."""

from __future__ import annotations

from dataclasses import dataclass, field

import duckdb
import polars as pl

from convrec.artifacts.identity import ArtifactRef
from convrec.artifacts.parquet_rows import ROW_GROUP_SIZE, ParquetRows, column_list
from convrec.artifacts.store import Store
from convrec.errors import WarehouseError

SORT_BLOCK_ROWS = 8 * ROW_GROUP_SIZE
"""Rows that are sorted in one statement."""


@dataclass(frozen=True)
class PatchedRows(ParquetRows):
    """The rows of `earlier`, an artifact of the same kind, with those in the files replaced.

    The files have one more column, `row`: the position of the row to replace.
    """

    earlier: ArtifactRef = field(kw_only=True)
    store: Store = field(kw_only=True)

    @property
    def height(self) -> int:
        """The number of rows."""
        return self.earlier.rows

    def frame(self) -> pl.DataFrame:
        """All rows in one frame."""
        changed = super().frame()
        columns = [name for name in changed.columns if name != "row"]
        earlier = self.store.read_ordered(self.earlier.artifact_id, columns)
        unchanged = earlier.join(changed, on="row", how="anti").select(changed.columns)
        return pl.concat([unchanged, changed]).sort("row").drop("row")

    def insert(self, connection: duckdb.DuckDBPyConnection, kind: str, artifact_id: str) -> None:
        """Insert the rows block by block, as DuckDB's joins do not keep the order.

        Raises WarehouseError if the earlier artifact was deleted.
        """
        columns = f'"row", {column_list(kind)}'
        statement = (
            "WITH changed AS (SELECT * FROM read_parquet($files)) "  # noqa: S608
            f'INSERT INTO "{kind}" (artifact_id, {columns}) SELECT $new, {columns} FROM ('
            f'SELECT {columns} FROM "{kind}" ANTI JOIN changed USING ("row") '
            f"WHERE artifact_id = $earlier UNION ALL SELECT {columns} FROM changed) "
            'WHERE "row" >= $start AND "row" < $stop ORDER BY "row"'
        )
        values = {
            "files": [str(file) for file in self.files],
            "new": artifact_id,
            "earlier": self.earlier.artifact_id,
        }
        inserted = 0
        for start in range(0, self.height, SORT_BLOCK_ROWS):
            block = {"start": start, "stop": start + SORT_BLOCK_ROWS}
            inserted += connection.execute(statement, values | block).fetchall()[0][0]
        if inserted != self.height:
            raise WarehouseError(
                f"{self.earlier.artifact_id} was deleted while {kind} were built from it; run again"
            )
