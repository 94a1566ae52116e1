from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from convrec.artifacts.parquet_rows import ParquetRows
from convrec.artifacts.store import Store
from convrec.utils.arrow_files import read_table


@pytest.mark.parametrize(
    "name",
    ["a[1]", "[ab]", "a*", "{a,b}", "with space", "#1", "100%20", "ü – 電影", "~x", "a;b", "a:b",
     "quote'd", 'dou"ble', "$HOME", "back\\slash"],
)  # fmt: skip
def test_a_home_is_no_pattern(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path / name)
    with store.transaction() as connection:
        connection.execute("CREATE TABLE odd AS SELECT 1 AS a")
    with store.read_connection() as connection:
        assert connection.execute("SELECT a FROM odd").fetchall() == [(1,)]
    assert sorted(tmp_path.iterdir()) == [tmp_path / name]
    file = tmp_path / name / "rows.parquet"
    with file.open("wb") as out:
        pl.DataFrame({"a": [1]}).write_parquet(out)
    assert read_table(file).height == ParquetRows((file,)).frame().height == 1
