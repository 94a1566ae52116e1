"""Reads CSV rows so that a broken row, such as one with a stray quote, costs only its own line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from convrec.catalog.rows import CatalogRow
from convrec.errors import CatalogError


def read_csv_rows(path: Path) -> tuple[list[str], list[CatalogRow]]:
    """The lower-case column names and the rows of a CSV file.

    Raises CatalogError for text that is not UTF-8 and for a header that is not CSV or repeats a
    name.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = len(error.object[: error.start + 1].splitlines())
        raise CatalogError(
            f"{path}, line {line}: byte 0x{error.object[error.start]:02x} is not UTF-8 text; "
            "save the file as UTF-8 CSV, or as Parquet"
        ) from None
    lines = io.StringIO(text, newline="").readlines()
    reader = csv.reader(lines)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        if reader.line_num > 1:  # a name of several lines, or a stray quote
            next(csv.reader(lines, strict=True))
    except csv.Error as error:
        raise CatalogError(
            f"{path}, line 1: the header is not CSV ({error}); separate names by commas and close "
            "every quote"
        ) from None
    if len(set(header)) < len(header):
        raise CatalogError(f"{path} repeats a column name: {', '.join(header)}; rename one of them")
    return header, list(csv_records(lines, reader.line_num, header))


def csv_records(lines: Sequence[str], start: int, header: Sequence[str]) -> Iterator[CatalogRow]:
    """The rows in `lines` from `start` on; a row that cannot be parsed has a `problem`."""
    while start < len(lines):
        end, problem = start + 1, ""
        reader = csv.reader([lines[start], '"'])
        try:
            fields = next(reader)
            if reader.line_num > 1:  # a quote is open at the end of the line
                end = _end_of_record(lines, start, len(header))
                fields = next(csv.reader(lines[start:end]))
                if end == start + 1:
                    problem, fields[-1] = "a quote that is not closed", fields[-1].rstrip("\r\n")
        except csv.Error as error:
            end, fields, problem = start + 1, [lines[start]], f"not CSV ({error})"
        if fields and not problem and len(fields) != len(header):
            problem = f"{len(fields)} fields where the header has {len(header)}"
        if fields:
            yield CatalogRow(start + 1, dict(zip(header, fields, strict=False)), problem)
        start = end


def _end_of_record(lines: Sequence[str], start: int, width: int) -> int:
    """The index after a record of several lines; `start + 1` if its open quote is a stray quote.

    A record of several lines is strict CSV of `width` fields. The search ends at the first extra
    field, so a file full of stray quotes takes at most `width` times as long as a clean one, not
    quadratic time.
    """
    count, line = 0, lines[start]
    for end in range(start + 1, len(lines) + 1):
        reader = csv.reader([line, '"'], strict=True)
        try:
            count += len(next(reader))
        except csv.Error:
            break
        if reader.line_num == 1 and count == width:
            return end
        if reader.line_num == 1 or count > width or end == len(lines):
            break
        count, line = count - 1, f'"{lines[end]}'  # as if the field began on this line
    return start + 1
