"""The columns and first rows of a file of conversations or of a catalog, by any names."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from convrec.catalog.csv_rows import DELIMITERS, read_csv_rows
from convrec.catalog.load import reject_pickle
from convrec.catalog.selection import CATALOG_FILES
from convrec.errors import InputError
from convrec.stages.ingest.files import SUFFIXES
from convrec.stages.ingest.raw_rows import TABLE_SUFFIXES, ConversationFile, read_raw_rows
from convrec.utils.file_content import data_suffix, is_parquet, reject_other_kinds, text_lines

MAX_ROWS = 2000
"""Rows that are looked at."""


class Peek(NamedTuple):
    """The columns of a file in order, and its first rows: column to value."""

    columns: list[str]
    rows: list[dict[str, Any]]

    def cells(self, column: str) -> list[Any]:
        """The values of a column, without the empty ones."""
        values = (row.get(column) for row in self.rows)
        return [value for value in values if value is not None and value != ""]


def peek(path: Path) -> Peek:
    """The columns and first rows of a CSV, JSON or Parquet file, or of the first one of a folder.

    Raises InputError for a file that cannot be read or has no rows.
    """
    file = _first_file(path) if path.is_dir() else path
    reject_pickle(file)
    if is_parquet(file):
        frame = pl.scan_parquet(file).head(MAX_ROWS).collect()
        found = Peek(frame.columns, frame.to_dicts())
    elif data_suffix(file.name) in (*TABLE_SUFFIXES, ".txt"):
        reject_other_kinds(file, "CSV, JSONL or Parquet")
        columns, records = read_csv_rows(file, _header(file))
        found = Peek(
            [column for column in columns if column],
            [dict(row.values) for row in records[:MAX_ROWS] if not row.problem],
        )
    else:
        raw = islice(read_raw_rows(ConversationFile(file, file.name, "")), MAX_ROWS)
        rows = [row.value for row in raw if isinstance(row.value, dict)]
        found = Peek(list(dict.fromkeys(name for row in rows for name in row)), rows)
    if not found.rows:
        raise InputError(f"{file} has no rows; give a file with a header and at least one row")
    return found


def _first_file(folder: Path) -> Path:
    files = [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and data_suffix(file.name) in SUFFIXES and file.name not in CATALOG_FILES
    ]
    if not files:
        raise InputError(f"{folder} has no CSV, JSONL, JSON or Parquet file; name another folder")
    return next((file for file in files if "train" in file.name.lower()), files[0])


def _header(file: Path) -> Sequence[str]:
    """The lower-case column names of a CSV file, split by the delimiter that gives the most."""
    with text_lines(file) as lines:
        texts = (line.decode("utf-8-sig", errors="replace").strip() for line in lines)
        first = next((text for text in texts if text.strip(",;|\t\"' ")), "")
    split = (next(csv.reader([first], delimiter=sign), []) for sign in DELIMITERS)
    return [name.strip().lower() for name in max(split, key=len)]
