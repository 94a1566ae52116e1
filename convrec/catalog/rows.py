"""Turns raw catalog rows into items, or into quarantine rows with the reason."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from convrec.artifacts.frames import artifact_frame
from convrec.errors import CatalogError
from convrec.titles.line_format import format_line
from convrec.titles.normalize import (
    FIRST_YEAR,
    LAST_YEAR,
    exact_key,
    is_plausible_year,
    split_year,
)

MAX_RAW_CHARACTERS = 2000
"""Longer raw text of a quarantined row is cut."""


class CatalogRow(NamedTuple):
    """A raw row. `line` is its line in a CSV file, or its number in a Parquet file, from 1."""

    line: int
    values: Mapping[str, Any]
    problem: str = ""


def collect_items(
    rows: Iterable[CatalogRow], source: str, text_columns: Sequence[str] = (), where: str = ""
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(items, quarantine) from raw rows. Of two equal items, the second is quarantined.

    `source` is the file name in quarantine rows, `where` the path in messages. Raises CatalogError
    if there is no usable row.
    """
    items: list[dict[str, Any]] = []
    quarantine: list[dict[str, Any]] = []
    titles: dict[tuple[str, int | None], int] = {}
    ids: dict[str, int] = {}
    for row in rows:
        item, reason = _parse_item(row, text_columns)
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
            quarantine.append(quarantine_row(source, row.line, reason, _to_csv(row.values)))
    if not items:
        first = f" (line {quarantine[0]['line']}: {quarantine[0]['reason']})" if quarantine else ""
        raise CatalogError(
            f"{where or source} has no usable row{first}; a row needs a title",
            rows=[(f"line {row['line']}", row["reason"]) for row in quarantine],
        )
    return artifact_frame("catalog", items), artifact_frame("quarantine", quarantine)


def quarantine_row(source: str, line: int, reason: str, raw: str) -> dict[str, Any]:
    """A row of the artifact kind `quarantine`; `raw` is cut to MAX_RAW_CHARACTERS."""
    source, raw = (to_valid_unicode(text) for text in (source, raw[:MAX_RAW_CHARACTERS]))
    return {"source": source, "line": line, "reason": reason, "raw": raw}


def to_valid_unicode(text: object) -> str:
    """Text that DuckDB and Parquet accept: each lone surrogate, as in a file name, becomes "?"."""
    return str(text).encode(errors="replace").decode()


def parse_year(value: Any) -> tuple[int | None, str]:
    """(year, "") for a year, (None, "") for a missing one, (None, reason) for an invalid one."""
    if value is None or (isinstance(value, str) and not value.strip()) or value != value:
        return None, ""
    try:
        number = float(value)
        year = int(number)
    except (TypeError, ValueError, OverflowError):
        year, number = 0, 0.5
    if year == number and is_plausible_year(year):
        return year, ""
    allowed = f"allowed are {FIRST_YEAR} to {LAST_YEAR}, or empty"
    return None, f"broken year {str(value)[:40]!r} ({allowed})"


def _parse_item(row: CatalogRow, text_columns: Sequence[str]) -> tuple[dict[str, Any] | None, str]:
    """(item, ""), or (None, reason)."""
    title = row.values.get("title")
    if reason := row.problem or _title_problem(title):
        return None, reason
    year, reason = parse_year(row.values.get("year"))
    if reason:
        return None, reason
    title = " ".join(str(title).split())
    rest, title_year = split_year(title)
    if title_year is not None and title.endswith(f"({title_year})") and year in (None, title_year):
        title, year = rest, title_year
    item_id = row.values.get("item_id")
    texts = (row.values.get(name) for name in text_columns)
    return {
        "item_id": str("" if item_id is None else item_id).strip() or format_line(title, year),
        "title": title,
        "year": year,
        "aliases": _split_list(row.values.get("aliases")),
        "genres": _split_list(row.values.get("genres")),
        "text": " ".join(text.strip() for text in texts if isinstance(text, str) and text.strip()),
    }, ""


def _title_problem(title: Any) -> str:
    if title is not None and not isinstance(title, str):
        return f"the title is not text but {str(title)[:40]} ({type(title).__name__})"
    if title is None or not title.strip():
        return "no title"
    if not title.isprintable() and any(
        unicodedata.category(char) in ("Cc", "Cs") and not char.isspace() for char in title
    ):
        return "a control character in the title"
    return ""


def _split_list(value: Any) -> list[str]:
    parts = value.split("|") if isinstance(value, str) else value if isinstance(value, list) else ()
    return [part.strip() for part in parts if isinstance(part, str) and part.strip()]


def _to_csv(values: Mapping[str, Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(
        ["" if value is None else value for value in values.values()]
    )
    return buffer.getvalue()
