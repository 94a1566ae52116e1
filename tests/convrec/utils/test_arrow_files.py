"""Parquet and Arrow files in batches."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from convrec.errors import InputError
from convrec.utils.arrow_files import BATCH_ROWS, read_batches, read_table

ROWS = BATCH_ROWS + 7


def _table() -> pl.DataFrame:
    """Rows of every type that a data set may have."""
    return pl.DataFrame(
        {
            "text": [None if n % 7 == 0 else f"é {n}" for n in range(ROWS)],
            "titles": [[["Heat", "1995"], ["Up", None]][: n % 3] for n in range(ROWS)],
            "messages": [[{"role": "user", "content": str(n)}] for n in range(ROWS)],
            "number": list(range(ROWS)),
            "float": [n / 3 for n in range(ROWS)],
            "flag": [n % 2 == 0 for n in range(ROWS)],
            "day": [date(2022, 1, 1 + n % 28) for n in range(ROWS)],
            "time": [datetime(2022, 1, 1, n % 24) for n in range(ROWS)],
            "bytes": [b"x" * (n % 3) for n in range(ROWS)],
            "nothing": [None] * ROWS,
            "kind": pl.Series([f"k{n % 3}" for n in range(ROWS)], dtype=pl.Categorical),
        }
    )


@pytest.mark.parametrize("group", [100, 10**6])
def test_batches_of_parquet_have_the_rows_of_the_table(group: int, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    _table().write_parquet(path, row_group_size=group)
    batches = list(read_batches(path))
    assert max(batch.height for batch in batches) <= BATCH_ROWS
    rows = [row for batch in batches for row in batch.iter_rows(named=True)]
    assert rows == list(read_table(path).iter_rows(named=True))
    assert len(rows) == ROWS


def test_batches_of_arrow_have_the_rows_of_the_table(tmp_path: Path) -> None:
    path = tmp_path / "rows.arrow"
    table = _table().drop("kind").to_arrow()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, 1000)
    rows = [row for batch in read_batches(path, arrow=True) for row in batch.iter_rows(named=True)]
    assert rows == list(read_table(path, arrow=True).iter_rows(named=True))
    assert len(rows) == ROWS


@pytest.mark.parametrize("arrow", [True, False])
def test_a_damaged_file_is_a_sentence(arrow: bool, tmp_path: Path) -> None:
    path = tmp_path / "rows"
    _table().write_parquet(path)
    whole = path.read_bytes()
    for data in (b"", whole[: len(whole) // 2], whole[:4] + whole[-4:]):
        path.write_bytes(data)
        with pytest.raises(InputError, match="write the file again"):
            list(read_batches(path, arrow=arrow))
