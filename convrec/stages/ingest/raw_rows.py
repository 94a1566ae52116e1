"""Reads the raw rows of conversation files, without interpreting their values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from convrec.catalog.csv_rows import read_csv_rows
from convrec.errors import InputError
from convrec.stages.ingest.json_rows import (
    PROMPT,
    JsonRow,
    begins_list,
    document_rows,
    line_rows,
    records,
)
from convrec.utils.arrow_files import read_batches
from convrec.utils.error_text import first_line
from convrec.utils.file_content import data_suffix, is_parquet, reject_other_kinds, text_lines

TABLE_SUFFIXES = (".csv", ".tsv")
LINE_SUFFIXES = (".jsonl", ".ndjson", ".jsonlines")
WANTED = "JSONL, JSON, CSV or Parquet"


class ConversationFile(NamedTuple):
    """A file of conversations.

    `source` names it; `split` is the split in its name, or empty. `key` is the column by which rows
    are recognized.
    """

    path: Path
    source: str
    split: str
    key: str = PROMPT


class RawRow(NamedTuple):
    """A raw row of a file.

    `line` counts from 1: lines in files of lines, rows in tables and JSON documents. `text` is the
    row as text, empty for tables. If the row cannot be read, `value` is None and `problem` is the
    reason.
    """

    source: str
    split: str
    line: int
    value: Any
    problem: str
    text: str


def read_raw_rows(file: ConversationFile) -> Iterator[RawRow]:
    """The rows of a file. Raises InputError if the file as a whole cannot be read."""
    suffix = data_suffix(file.path.name)
    if suffix == ".arrow" or is_parquet(file.path):
        tables = read_batches(file.path, arrow=suffix == ".arrow")
        rows = chain.from_iterable(table.iter_rows(named=True) for table in tables)
        for number, value in enumerate(rows, start=1):
            yield RawRow(file.source, file.split, number, value, "", "")
        return
    reject_other_kinds(file.path, WANTED)
    if suffix == ".parquet":
        raise InputError(f"{file.path} cannot be read as Parquet (it is none); write it again")
    if suffix in TABLE_SUFFIXES:
        yield from _csv_rows(file)
    else:
        yield from _json_rows(file, is_document=suffix not in LINE_SUFFIXES)


def read_json(path: Path) -> Any:
    """The value of a JSON file. Raises InputError."""
    reject_other_kinds(path, "JSON")
    try:
        with text_lines(path) as lines:
            return json.loads(b"".join(lines).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON ({first_line(error)})") from None


def _csv_rows(file: ConversationFile) -> Iterator[RawRow]:
    for row in read_csv_rows(file.path, (file.key.strip().lower(),))[1]:
        value = None if row.problem else dict(row.values)
        text = ",".join(map(str, row.values.values()))
        yield RawRow(file.source, file.split, row.line, value, row.problem, text)


def _json_rows(file: ConversationFile, *, is_document: bool) -> Iterator[RawRow]:
    with text_lines(file.path) as lines:
        first = next((line for line in lines if line.strip()), b"")
    with text_lines(file.path) as lines:
        if is_document or begins_list(first, file.key):
            yield from _document_rows(file, lines)
            return
        for number, data in enumerate(lines, start=1):
            for row in line_rows(data, file.key, is_first=number == 1):
                yield RawRow(file.source, file.split, number, *row)


def _document_rows(file: ConversationFile, lines: Iterator[bytes]) -> Iterator[RawRow]:
    text = b"".join(lines).decode("utf-8-sig", errors="surrogateescape")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        rows: Iterator[tuple[str, JsonRow]] = (("", row) for row in document_rows(text))
    else:
        rows = chain.from_iterable(
            ((split, JsonRow(row, "", json.dumps(row))) for row in found)
            for split, found in records(value, str(file.path), file.key)
        )
    for number, (split, row) in enumerate(rows, start=1):
        yield RawRow(file.source, split or file.split, number, *row)
