"""Turns raw catalog rows into items, or into quarantine rows with the reason."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from convrec.artifacts.frames import artifact_frame
from convrec.catalog.listed_titles import NO_GENRES, split_listed_title
from convrec.catalog.years import is_missing, is_plain_year, parse_year
from convrec.errors import CatalogError
from convrec.titles.line_format import format_line
from convrec.titles.normalize import clean_text, clean_title, exact_key, split_year
from convrec.utils.unicode_text import to_valid_unicode

MAX_RAW_CHARACTERS = 2000
"""Longer raw text of a quarantined row is cut."""

_TOTAL = re.compile(r"(?:grand )?totals?:?|sum:?|count:?|average:?")


class CatalogRow(NamedTuple):
    """A raw row. `line` is its line in a CSV file, or its number in a Parquet file, from 1.

    `is_new` says that earlier versions of convrec did not read the row in this way.
    """

    line: int
    values: Mapping[str, Any]
    problem: str = ""
    is_new: bool = False


class CollectedItems(NamedTuple):
    """Items and quarantine rows.

    `is_new` says that earlier versions of convrec would have made other rows. `decoded` titles had
    URL escapes, HTML entities or invisible characters.
    """

    items: pl.DataFrame
    quarantine: pl.DataFrame
    is_new: bool
    decoded: int


def collect_items(
    rows: Iterable[CatalogRow],
    source: str,
    text_columns: Sequence[str] = (),
    where: str = "",
    *,
    year_in_title: bool = False,
) -> CollectedItems:
    """Items and quarantine from raw rows. Of two equal items, the second is quarantined.

    `source` is the file name in quarantine rows, `where` the path in messages. With
    `year_in_title`, titles are written as MovieLens lists them. Raises CatalogError if there is no
    usable row.
    """
    items: list[dict[str, Any]] = []
    quarantine: list[dict[str, Any]] = []
    titles: dict[tuple[str, int | None], int] = {}
    ids: dict[str, int] = {}
    is_new, decoded = False, 0
    for row in rows:
        item, reason = _parse_item(row, text_columns, year_in_title)
        is_new = is_new or row.is_new or _is_read_differently(row)
        if item is not None:
            key = (exact_key(item["title"]), item["year"])
            if key in titles:
                reason = f"repeats the title and year of line {titles[key]}"
            elif item["item_id"] in ids:
                reason = f"repeats the item_id {item['item_id']!r} of line {ids[item['item_id']]}"
            else:
                titles[key] = ids[item["item_id"]] = row.line
                decoded += clean_text(row.values["title"]) != row.values["title"]
                items.append(item)
        if reason:
            quarantine.append(quarantine_row(source, row.line, reason, _to_csv(row.values)))
    if not items:
        first = f" (line {quarantine[0]['line']}: {quarantine[0]['reason']})" if quarantine else ""
        raise CatalogError(
            f"{where or source} has no usable row{first}; a row needs a title",
            rows=[(f"line {row['line']}", row["reason"]) for row in quarantine],
        )
    return CollectedItems(
        artifact_frame("catalog", items), artifact_frame("quarantine", quarantine), is_new, decoded
    )


def quarantine_row(source: str, line: int, reason: str, raw: str) -> dict[str, Any]:
    """A row of the artifact kind `quarantine`; `raw` is cut to MAX_RAW_CHARACTERS."""
    source, raw = (to_valid_unicode(text) for text in (source, raw[:MAX_RAW_CHARACTERS]))
    return {"source": source, "line": line, "reason": reason, "raw": raw}


def _parse_item(
    row: CatalogRow, text_columns: Sequence[str], year_in_title: bool
) -> tuple[dict[str, Any] | None, str]:
    """(item, ""), or (None, reason)."""
    title = row.values.get("title")
    if reason := row.problem or _row_problem(row.values) or _title_problem(title):
        return None, reason
    year, reason = parse_year(row.values.get("year"))
    if reason:
        return None, reason
    title = " ".join(clean_title(str(title)).split())
    aliases = _split_list(row.values.get("aliases"))
    if year_in_title:
        title, title_year, names = split_listed_title(title)
        year, aliases = year or title_year, [*aliases, *names]
    else:
        rest, title_year = split_year(title)
        if title_year is not None and title.endswith(f"({title_year})"):
            title, year = (rest, title_year) if year in (None, title_year) else (title, year)
    genres = _split_list(row.values.get("genres"))
    item_id = row.values.get("item_id")
    texts = (row.values.get(name) for name in text_columns)
    return {
        "item_id": str("" if item_id is None else item_id).strip() or format_line(title, year),
        "title": title,
        "year": year,
        "aliases": aliases,
        "genres": [] if year_in_title and genres == [NO_GENRES] else genres,
        "text": " ".join(text.strip() for text in texts if isinstance(text, str) and text.strip()),
    }, ""


def _is_read_differently(row: CatalogRow) -> bool:
    """Whether earlier versions of convrec would have made another row of this one."""
    values = row.values
    texts = [values.get(name) for name in ("title", "aliases", "genres")]
    return (
        any(isinstance(text, str) and clean_title(text) != text for text in texts)
        or not is_plain_year(values.get("year"))
        or (not row.problem and bool(_row_problem(values)))
    )


def _row_problem(values: Mapping[str, Any]) -> str:
    """Why a row of a spreadsheet is no item: it repeats the header, or sums up the others."""
    title = str(values.get("title") or "").strip().lower()
    others = [value for name, value in values.items() if name and name != "title"]
    if title == "title" and "year" in str(values.get("year", "year")).lower():
        return "repeats the header"
    if _TOTAL.fullmatch(title) and others and all(map(_is_empty_or_number, others)):
        return "looks like the sum of the other rows" if is_missing(values.get("year")) else ""
    return ""


def _is_empty_or_number(value: Any) -> bool:
    return is_missing(value) or str(value).strip().replace(".", "").isdigit()


def _title_problem(title: Any) -> str:
    if title is not None and not isinstance(title, str):
        return f"the title is not text but {str(title)[:40]} ({type(title).__name__})"
    if title is None or not clean_text(title).strip():
        return "no title"
    if not title.isprintable() and any(
        unicodedata.category(char) in ("Cc", "Cs") and not char.isspace() for char in title
    ):
        return "a control character in the title"
    return ""


def _split_list(value: Any) -> list[str]:
    parts = value.split("|") if isinstance(value, str) else value if isinstance(value, list) else ()
    texts = (clean_text(part).strip() for part in parts if isinstance(part, str))
    return [text for text in texts if text]


def _to_csv(values: Mapping[str, Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(
        ["" if value is None else value for value in values.values()]
    )
    return buffer.getvalue()
