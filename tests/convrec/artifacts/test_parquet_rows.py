"""Rows that are copied from Parquet files into the warehouse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from convrec.artifacts import ArtifactSpec, StepResult, Store, duckdb_instance
from convrec.artifacts.parquet_rows import ParquetRows
from tests.support.films import film_catalog


def test_only_the_copy_of_files_has_bounded_memory(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = "SELECT len(list(range)) FROM range(8_000_000)"  # DuckDB cannot spill it
    insert = ParquetRows.insert

    def insert_without_memory(self: ParquetRows, connection: Any, *where: str) -> None:
        with pytest.raises(duckdb.OutOfMemoryException):
            connection.cursor().execute(large)
        insert(self, connection, *where)

    monkeypatch.setattr(ParquetRows, "insert", insert_without_memory)
    monkeypatch.setattr(duckdb_instance, "WRITER_MEMORY", 2**24)
    file = tmp_path / "rows.parquet"
    film_catalog().write_parquet(file)
    ref = store.put(ArtifactSpec("catalog", "ingest", 1), StepResult(ParquetRows((file,))))
    assert store.read(ref.artifact_id).equals(film_catalog())
    with store.transaction() as connection:
        assert connection.execute(large).fetchall() == [(8_000_000,)]
