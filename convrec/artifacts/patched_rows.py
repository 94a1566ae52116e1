"""The rows of an earlier artifact with some of them anew: nobody holds, or makes, the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from convrec.artifacts.parquet_rows import ROW_GROUP_SIZE, ParquetRows, column_list
from convrec.errors import WarehouseError

if TYPE_CHECKING:
    import duckdb
    import polars as pl

    from convrec.artifacts.identity import ArtifactRef
    from convrec.artifacts.store import Store

SORT_BLOCK_ROWS = 8 * ROW_GROUP_SIZE
"""Rows that are sorted at once."""


@dataclass(frozen=True)
class PatchedRows(ParquetRows):
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
        others = self.store.read_ordered(self.earlier.artifact_id, columns)
        rows = others.join(made, on="row", how="anti").select(made.columns)
        return pl.concat([rows, made]).sort("row").drop("row")

    def insert(self, connection: duckdb.DuckDBPyConnection, kind: str, artifact_id: str) -> None:
        """Insert the rows, block by block: DuckDB keeps no order through a join.

        Raises WarehouseError where the earlier rows are gone.
        """
        columns = f'"row", {column_list(kind)}'
        statement = (
            "WITH made AS (SELECT * FROM read_parquet($files)) "  # noqa: S608
            f'INSERT INTO "{kind}" (artifact_id, {columns}) SELECT $made, {columns} FROM ('
            f'SELECT {columns} FROM "{kind}" ANTI JOIN made USING ("row") '
            f"WHERE artifact_id = $earlier UNION ALL SELECT {columns} FROM made) "
            'WHERE "row" >= $start AND "row" < $stop ORDER BY "row"'
        )
        values = {
            "files": [str(file) for file in self.files],
            "made": artifact_id,
            "earlier": self.earlier.artifact_id,
        }
        done = 0
        for start in range(0, self.height, SORT_BLOCK_ROWS):
            place = {"start": start, "stop": start + SORT_BLOCK_ROWS}
            done += connection.execute(statement, values | place).fetchall()[0][0]
        if done != self.height:
            raise WarehouseError(
                f"{self.earlier.artifact_id} was deleted while {kind} was made from it; run again"
            )
