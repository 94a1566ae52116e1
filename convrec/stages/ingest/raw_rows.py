"""Reads the raw rows of conversation files, without interpreting their values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from convrec.errors import InputError
from convrec.utils.arrow_files import read_table
from convrec.utils.error_text import first_line


class ConversationFile(NamedTuple):
    """A file of conversations. `source` names it; `split` is the split in its name, or empty."""

    path: Path
    source: str
    split: str


class RawRow(NamedTuple):
    """A raw row of a file. `line` counts from 1; `text` is the row as text, empty for tables.

    If the row cannot be read, `value` is None and `problem` is the reason.
    """

    source: str
    split: str
    line: int
    value: Any
    problem: str
    text: str


def read_raw_rows(file: ConversationFile) -> Iterator[RawRow]:
    """The rows of a file. Raises InputError if the file as a whole cannot be read."""
    suffix = file.path.suffix.lower()
    if suffix == ".jsonl":
        yield from _jsonl_rows(file)
        return
    table = read_table(file.path, arrow=suffix != ".parquet")
    for number, value in enumerate(table.iter_rows(named=True), start=1):
        yield RawRow(file.source, file.split, number, value, "", "")


def read_json(path: Path) -> Any:
    """The value of a JSON file. Raises InputError."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON ({first_line(error)})") from None


def _jsonl_rows(file: ConversationFile) -> Iterator[RawRow]:
    with file.path.open("rb") as lines:
        for number, data in enumerate(lines, start=1):
            if not data.strip():
                continue
            value, problem = None, ""
            try:
                text = data.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                value = json.loads(text)
            except UnicodeDecodeError:
                text, problem = data.decode(errors="replace").strip(), "not UTF-8"
            except (ValueError, RecursionError) as error:
                problem = f"not JSON ({str(error).split(': line')[0]})"
            yield RawRow(file.source, file.split, number, value, problem, text)
