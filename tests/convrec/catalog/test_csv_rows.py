from __future__ import annotations

from typing import Any

import pytest

from convrec.catalog.csv_rows import csv_records


@pytest.mark.parametrize(
    "row", ['"Heat,{0}', 'x"y,"{0}', 'x",{0},"z', '"Heat ""{0}"",1995', '"{0}']
)
def test_stray_quotes_take_linear_time(row: str) -> None:
    header = ["title", "year", "plot"]
    lines = CountedLines(f"{row.format(n)}\n" for n in range(1000))
    assert len(list(csv_records(lines, 0, header))) == 1000
    assert 1000 <= lines.read <= (len(header) + 3) * 1000


class CountedLines(list[str]):
    """Lines that count how many of them are read."""

    read = 0

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        self.read += len(found) if isinstance(key, slice) else 1
        return found
