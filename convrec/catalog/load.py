"""Read a catalog file: rows that can be used, and rows that cannot with the reason.

A catalog is CSV or Parquet with `title` and `year` (may be empty), optionally `item_id`, `aliases`,
`genres`, and any other text columns, which are joined into `text`. A file may call them otherwise:
`ingest.columns` maps our names to its own. One bad row never stops a run; a file that is no catalog
at all does, in one sentence.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from convrec.artifacts.frames import frame
from convrec.catalog.columns import renaming
from convrec.errors import CatalogError, InputError
from convrec.titles.line_format import format_line
from convrec.titles.normalize import FIRST_YEAR, LAST_YEAR, exact_key, split_year, usable_year
from convrec.utils.tables import read_table

if TYPE_CHECKING:
    import polars as pl

REQUIRED = ("title", "year")
OPTIONAL = ("item_id", "aliases", "genres")
RAW_CHARACTERS = 2000
"""How much of a quarantined row is kept."""


class CatalogRow(NamedTuple):
    """One raw row and its line in the file (for Parquet: its number, counted from 1)."""

    line: int
    values: Mapping[str, Any]
    problem: str = ""


def load_catalog(
    path: Path, names: Mapping[str, str] | None = None, *, years: bool = True
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read a catalog file into (items, quarantine), both with the columns of their kind.

    `names` maps columns of ours to what the file calls them; without `years` a file may go without
    a year. Raises CatalogError for a file that is missing, of another type, without the needed
    columns or without one usable row, and InputError for a pickle, which is never loaded.
    """
    columns, rows = catalog_rows(path, names)
    needed = REQUIRED if years else REQUIRED[:1]
    missing = [name for name in needed if name not in columns]
    if missing:
        raise CatalogError(
            f"{path} has no column {' and no column '.join(missing)} (it has "
            f"{', '.join(columns) or 'none'}); a catalog needs title and year, and may have "
            "item_id, aliases, genres and text columns; ingest.columns says what a file calls them"
        )
    return collect_items(rows, path.name, _text_columns(columns, rows), str(path))


def catalog_rows(
    path: Path, names: Mapping[str, str] | None = None
) -> tuple[list[str], list[CatalogRow]]:
    """The columns of a catalog file, under our names, and its rows as they stand.

    Raises CatalogError and InputError as `load_catalog` does.
    """
    refuse_pickle(path)
    columns, rows = _parquet(path) if _is_parquet(path) else _csv(path)
    if not names:
        return columns, rows
    new = renaming(columns, names, path)
    renamed = [row._replace(values={new[k]: v for k, v in row.values.items()}) for row in rows]
    return [new[column] for column in columns], renamed


def collect_items(
    rows: Iterable[CatalogRow], source: str, text_columns: Sequence[str] = (), where: str = ""
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Sort raw rows into catalog items and quarantine; the first of two equal items stays.

    Raises CatalogError where no row can be used.
    """
    items: list[dict[str, Any]] = []
    quarantine: list[dict[str, Any]] = []
    titles: dict[tuple[str, int | None], int] = {}
    ids: dict[str, int] = {}
    for row in rows:
        item, reason = _item(row, text_columns)
        if item is not None:
            key = (exact_key(item["title"]), item["year"])
            if key in titles:
                reason = f"repeats the title and year of line {titles[key]}"
            elif item["item_id"] in ids:
                reason = f"repeats the item_id {item['item_id']!r} of line {ids[item['item_id']]}"
            else:
                titles[key] = ids[item["item_id"]] = row.line
                items.append(item)
        if reason:
            quarantine.append(bad_row(source, row.line, reason, _raw(row.values)))
    if not items:
        first = f" (line {quarantine[0]['line']}: {quarantine[0]['reason']})" if quarantine else ""
        raise CatalogError(
            f"{where or source} has no usable row{first}; a row needs a title",
            rows=[(f"line {row['line']}", row["reason"]) for row in quarantine],
        )
    return frame("catalog", items), frame("quarantine", quarantine)


def bad_row(source: str, line: int, reason: str, raw: str) -> dict[str, Any]:
    """A row of the quarantine; `raw` is shortened to RAW_CHARACTERS."""
    source, raw = (shown(text) for text in (source, raw[:RAW_CHARACTERS]))
    return {"source": source, "line": line, "reason": reason, "raw": raw}


def shown(text: object) -> str:
    """A text that DuckDB and Parquet take: what is no character, as in a file name, becomes ?."""
    return str(text).encode(errors="replace").decode()


def refuse_pickle(path: Path) -> None:
    """Raise InputError where the file is a pickle, by name or by content, or is not there."""
    try:
        with path.open("rb") as file:
            start = file.read(2)
    except FileNotFoundError:
        raise CatalogError(
            f"{path} does not exist; give the path of a CSV or Parquet file"
        ) from None
    except IsADirectoryError:
        raise CatalogError(f"{path} is a folder; give the path of a CSV or Parquet file") from None
    except OSError as error:
        raise CatalogError(f"{path} cannot be read ({error.strerror})") from None
    named = path.suffix.lower() in (".pkl", ".pickle")
    if named or (start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")):
        raise InputError(
            f"{path} is a pickle, which can run any code when it is loaded, so it is refused; "
            "open it in a throw-away environment without secrets or network, write it out as CSV, "
            "Parquet or JSONL there, and give that file"
        )


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        parquet = file.read(4) == b"PAR1"
    if path.suffix.lower() == ".parquet" and not parquet:
        raise CatalogError(f"{path} is not a Parquet file in spite of its name; write it again")
    if not parquet and path.suffix.lower() not in (".csv", ".txt", ""):
        raise CatalogError(
            f"{path} is no catalog file; allowed are CSV (.csv) and Parquet (.parquet)"
        )
    return parquet


def _csv(path: Path) -> tuple[list[str], list[CatalogRow]]:
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
            f"{path}, line 1: the header is not CSV ({error}); "
            "write names between commas, with each quote closed"
        ) from None
    if len(set(header)) < len(header):
        raise CatalogError(f"{path} names a column twice: {', '.join(header)}")
    return header, list(_csv_rows(lines, reader.line_num, header))


def _csv_rows(lines: Sequence[str], start: int, header: Sequence[str]) -> Iterator[CatalogRow]:
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
    """The line after a record of several lines; the second one where the quote is a stray one.

    Such a record is exact CSV of `width` fields. The search ends at the first field too many: a
    later line that leaves a quote open too must have ended a field before. So a file of stray
    quotes takes `width` times as long to read, at most, and not the square of its lines.
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
        count, line = count - 1, f'"{lines[end]}'  # as if the field began here
    return start + 1


def _parquet(path: Path) -> tuple[list[str], list[CatalogRow]]:
    table = read_table(path)
    rows = [
        CatalogRow(line, values) for line, values in enumerate(table.iter_rows(named=True), start=1)
    ]
    return table.columns, rows


def _text_columns(columns: Sequence[str], rows: Sequence[CatalogRow]) -> list[str]:
    """The other columns that hold words: text in at least one row."""
    others = [name for name in columns if name and name not in (*REQUIRED, *OPTIONAL)]
    return [name for name in others if any(_is_text(row.values.get(name)) for row in rows)]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and any(c.isalpha() for c in value)


def _item(row: CatalogRow, text_columns: Sequence[str]) -> tuple[dict[str, Any] | None, str]:
    """A catalog item, or None and the reason."""
    if row.problem:
        return None, row.problem
    title = row.values.get("title")
    if title is not None and not isinstance(title, str):
        return None, f"the title is not text but {str(title)[:40]} ({type(title).__name__})"
    if title is None or not title.strip():
        return None, "no title"
    if not title.isprintable() and any(
        unicodedata.category(c) in ("Cc", "Cs") and not c.isspace() for c in title
    ):
        return None, "a control character in the title"
    year, reason = read_year(row.values.get("year"))
    if reason:
        return None, reason
    title = " ".join(title.split())
    rest, written = split_year(title)
    if written is not None and title.endswith(f"({written})") and year in (None, written):
        title, year = rest, written
    given = str(row.values.get("item_id") if row.values.get("item_id") is not None else "").strip()
    texts = (row.values.get(name) for name in text_columns)
    return {
        "item_id": given or format_line(title, year),
        "title": title,
        "year": year,
        "aliases": _list(row.values.get("aliases")),
        "genres": _list(row.values.get("genres")),
        "text": " ".join(text.strip() for text in texts if isinstance(text, str) and text.strip()),
    }, ""


def read_year(value: Any) -> tuple[int | None, str]:
    """(year, "") for a year or for none, (None, reason) for a broken one."""
    if value is None or (isinstance(value, str) and not value.strip()) or value != value:
        return None, ""
    try:
        number = float(value)
        year = int(number)
    except (TypeError, ValueError, OverflowError):
        year, number = 0, 0.5
    if year != number or not usable_year(year):
        return (
            None,
            f"broken year {str(value)[:40]!r} (allowed are {FIRST_YEAR} to {LAST_YEAR}, or empty)",
        )
    return year, ""


def _list(value: Any) -> list[str]:
    parts = value.split("|") if isinstance(value, str) else value if isinstance(value, list) else ()
    return [part.strip() for part in parts if isinstance(part, str) and part.strip()]


def _raw(values: Mapping[str, Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(
        ["" if v is None else v for v in values.values()]
    )
    return buffer.getvalue()
