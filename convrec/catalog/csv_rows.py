"""Reads CSV rows so that a broken row, such as one with a stray quote, costs only its own line.

What a spreadsheet adds around a table is understood: empty lines and a `sep=;` line before the
header, semicolons, tabs or bars instead of commas, columns without a name, and UTF-16.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from convrec.catalog.rows import CatalogRow
from convrec.errors import CatalogError
from convrec.utils.file_content import decompressed, wide_encoding

DELIMITERS = (",", ";", "\t", "|")
"""Separators of fields; the first with which the header has a needed column is used."""

_SEPARATOR_LINE = re.compile(r"""^["']?sep=(\\t|[^\w\s"']|\t)["']?[\s,;]*$""", re.IGNORECASE)


def read_csv_rows(
    path: Path, needed: Collection[str] = ("title",)
) -> tuple[list[str], list[CatalogRow]]:
    """The lower-case column names and the rows of a CSV file; it may be compressed.

    `needed` are lower-case column names by which the header is recognized. Raises CatalogError for
    text that is not UTF-8 or UTF-16, and for a header that is not CSV or repeats a name.
    """
    lines = io.StringIO(_read_text(path), newline="").readlines()
    start, delimiter = _find_table(lines, needed)
    reader = csv.reader(lines[start:], delimiter=delimiter)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        if reader.line_num > 1:  # a name of several lines, or a stray quote
            next(csv.reader(lines[start:], delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise CatalogError(
            f"{path}, line {start + 1}: the header is not CSV ({error}); separate names by commas "
            "and close every quote"
        ) from None
    named = [name for name in header if name]
    if len(set(named)) < len(named):
        raise CatalogError(f"{path} repeats a column name: {', '.join(named)}; rename one of them")
    start += reader.line_num
    records = list(csv_records(lines, start, header, delimiter))
    rows = [row for row in records if not _is_blank(row)]
    is_new = start > reader.line_num or delimiter != "," or len(header) > len(set(header))
    if is_new or len(rows) < len(records):
        rows = [row._replace(is_new=True) for row in rows]
    return header, rows


def csv_records(
    lines: Sequence[str], start: int, header: Sequence[str], delimiter: str = ","
) -> Iterator[CatalogRow]:
    """The rows in `lines` from `start` on; a row that cannot be parsed has a `problem`."""
    while start < len(lines):
        end, problem, is_new = start + 1, "", False
        reader = csv.reader([lines[start], '"'], delimiter=delimiter)
        try:
            fields = next(reader)
            if reader.line_num > 1:  # a quote is open at the end of the line
                end = _end_of_record(lines, start, len(header), delimiter)
                fields = next(csv.reader(lines[start:end], delimiter=delimiter))
                if end == start + 1:
                    problem, fields[-1] = "a quote that is not closed", fields[-1].rstrip("\r\n")
        except csv.Error as error:
            end, fields, problem = start + 1, [lines[start]], f"not CSV ({error})"
        if not problem and len(fields) > len(header) and not any(fields[len(header) :]):
            fields, is_new = fields[: len(header)], True  # separators after the last field
        if fields and not problem and len(fields) != len(header):
            problem = f"{len(fields)} fields where the header has {len(header)}"
        if fields:
            yield CatalogRow(start + 1, dict(zip(header, fields, strict=False)), problem, is_new)
        start = end


def _is_blank(row: CatalogRow) -> bool:
    """Whether this is an empty row of a spreadsheet."""
    return len(row.values) > 1 and not any(value.strip() for value in row.values.values())


def _read_text(path: Path) -> str:
    with decompressed(path) as file:
        data = file.read()
    encoding = wide_encoding(data) or ("utf-16-le" if data[1:8:2] == b"\0\0\0\0" else "utf-8-sig")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = len(error.object[: error.start + 1].splitlines())
        raise CatalogError(
            f"{path}, line {line}: byte 0x{error.object[error.start]:02x} is not UTF-8 text; "
            "save the file as UTF-8 CSV, or as Parquet"
        ) from None


def _find_table(lines: Sequence[str], needed: Collection[str]) -> tuple[int, str]:
    """The index of the header line, and the delimiter."""
    start, delimiter = 0, ""
    while start < len(lines):
        if found := _SEPARATOR_LINE.match(lines[start]):
            delimiter = "\t" if found[1] == "\\t" else found[1]
        elif lines[start].strip(" \t\r\n,;|\"'\ufeff"):
            break
        start += 1
    if delimiter:
        return start, delimiter
    found_with = (sign for sign in DELIMITERS if _has_columns(lines[start:], sign, needed))
    return start, next(found_with, ",")


def _has_columns(lines: Sequence[str], delimiter: str, needed: Collection[str]) -> bool:
    try:
        names = next(csv.reader(lines, delimiter=delimiter), [])
    except csv.Error:
        return False
    return not {name.strip().lower() for name in names}.isdisjoint(needed)


def _end_of_record(lines: Sequence[str], start: int, width: int, delimiter: str) -> int:
    """The index after a record of several lines; `start + 1` if its open quote is a stray quote.

    A record of several lines is strict CSV of `width` fields. The search ends at the first extra
    field, so a file full of stray quotes takes at most `width` times as long as a clean one, not
    quadratic time.
    """
    count, line = 0, lines[start]
    for end in range(start + 1, len(lines) + 1):
        reader = csv.reader([line, '"'], delimiter=delimiter, strict=True)
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
