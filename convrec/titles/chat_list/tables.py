"""Lists as tables: markdown, HTML, tabs, or rows of a CSV file with a header."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from typing import NamedTuple

from convrec.titles.chat_list.item import read_item
from convrec.titles.chat_list.markers import mark_lines
from convrec.titles.chat_list.text import fold, without_emphasis
from convrec.titles.normalize import is_plausible_year
from convrec.titles.title_year import TitleYear

_RULE = re.compile(r"[\s|+:=-]*-[\s|+:=-]*$")
_TITLE_HEADER = re.compile(
    r"\b(?:titles?|movies?|films?|books?|names?|items?|shows?|series|recommendations?|titre|titel|"
    r"título|titolo|película)\b|片名|电影|書名|书名|タイトル|映画|作品",
    re.IGNORECASE,
)
_YEAR_HEADER = re.compile(
    r"\b(?:years?|released?|date|published|año|ano|année|jahr|anno)\b|年", re.IGNORECASE
)
_OTHER_HEADER = re.compile(
    r"^(?:#|no\.?|nr\.?|rank(?:ing)?|position|id|index|why|reason|genre|director)\b", re.IGNORECASE
)
_RANK = re.compile(r"\W*\d{1,3}\W*$")
_YEAR = re.compile(r"[^\d]{0,12}((?:1[4-9]|20)\d\d)(?:\s?[-–/]\s?(?:\d{2,4})?)?\W*$")
_DELIMITERS = ("\t", ";", ",", "|")
_CELL_BREAK = re.compile(r"</t[dh]>\s*<t[dh]\b[^<>]{0,200}>", re.IGNORECASE)
_BREAK = re.compile(
    r"<br\s*/?>|</?(?:tr|p|div|ul|ol|table|tbody|thead)\b[^<>]{0,200}>|</li>", re.IGNORECASE
)
_LIST_ITEM = re.compile(r"<li\b[^<>]{0,200}>\s*", re.IGNORECASE)
_FIELD = re.compile(
    r"<(?P<name>(?:\w{1,12}_)?(?:title|name|year|date))>(?P<value>[^<>\n]{1,300})</(?P=name)>",
    re.IGNORECASE,
)
_RECORD_NAME = re.compile(r"<(?:\w{1,12}_)?(?:title|name)>", re.IGNORECASE)
_OTHER_FIELD = re.compile(r"<(\w{1,20})>[^<>\n]{0,1000}</\1>")
_CELL_EDGE = re.compile(r"</?t[dh]\b[^<>]{0,200}>", re.IGNORECASE)

Item = tuple[str, TitleYear]
"""The row as written, and what it names."""


class _Columns(NamedTuple):
    title: int
    year: int | None


def html_as_lines(text: str) -> str:
    """The text with HTML lists as bullets, table rows as `| cell | cell |` and breaks as lines.

    XML records become lines `title: …` and `year: …`.
    """
    if "<" not in text:
        return text
    if _RECORD_NAME.search(text):
        return _OTHER_FIELD.sub("", _FIELD.sub(_field_line, text))
    text = _CELL_EDGE.sub(" | ", _CELL_BREAK.sub(" | ", text))
    return _BREAK.sub("\n", _LIST_ITEM.sub("\n- ", text))


def _field_line(field: re.Match[str]) -> str:
    kind = "year" if field["name"].lower().endswith(("year", "date")) else "title"
    return f"\n{kind}: {field['value'].strip()}\n"


def read_table(text: str) -> list[Item]:
    """The items of the table in a text; empty if it has none."""
    rows = _markdown_rows(text.splitlines()) or _delimited_rows(text)
    if not rows:
        return []
    cells = [row for _, row in rows]
    columns, has_header = _columns(cells)
    if columns is None:
        return []
    rows = [(raw, row) for raw, row in rows[has_header:] if columns.title < len(row)]
    titles = [line.content for line in mark_lines([row[columns.title] for _, row in rows])]
    items = []
    for (raw, row), title in zip(rows, titles, strict=True):
        if (item := _row_item(title, row, columns)) is not None:
            items.append((raw, item))
    return items


def _markdown_rows(lines: Sequence[str]) -> list[tuple[str, list[str]]]:
    """(line, cells) of the lines with pipes, if there are at least two of the same width."""
    rows = []
    for line in lines:
        text = fold(line).strip()
        outer = text.startswith("|") or text.endswith("|")
        if text.count("|") < (2 if outer else 1) or _RULE.match(text):
            continue
        rows.append((line, [_cell(cell) for cell in text.strip("|").split("|")]))
    total = sum(bool(line.strip()) for line in lines)
    piped = any(line.lstrip().startswith("|") for line, _ in rows)
    if len(rows) < 2 or (not piped and 2 * len(rows) < total):
        return []
    return rows


def _delimited_rows(text: str) -> list[tuple[str, list[str]]]:
    """(line, cells) of CSV with a header that names the title."""
    lines = [line for line in text.splitlines() if line.strip()]
    for start, line in enumerate(lines[:3]):
        for delimiter in _DELIMITERS:
            names = [name.strip(' "') for name in line.split(delimiter)]
            short = len(names) > 1 and all(0 < len(name) <= 20 for name in names)
            if short and any(_TITLE_HEADER.fullmatch(name) for name in names):
                return [
                    (
                        raw,
                        [_cell(cell) for cell in next(csv.reader([raw], delimiter=delimiter), [])],
                    )
                    for raw in lines[start:]
                    if len(raw) < csv.field_size_limit() and "\x00" not in raw
                ]
    return []


def _columns(rows: Sequence[Sequence[str]]) -> tuple[_Columns | None, bool]:
    """The columns of the title and the year, and whether the first row is a header."""
    header, width = rows[0], max(map(len, rows))
    body = rows[1:] or rows
    years = [n for n in range(width) if _share(body, n, _YEAR) >= 0.6]
    titles = [n for n, name in enumerate(header) if _TITLE_HEADER.search(name) and len(name) < 40]
    has_header = bool(titles) and not any(_YEAR.match(cell) for cell in header)
    has_header = has_header or any(_OTHER_HEADER.match(cell) for cell in header)
    if has_header:
        named = [n for n, name in enumerate(header) if _YEAR_HEADER.search(name)]
        years = [n for n in named if n not in titles] or years
    if not (has_header and titles):
        ranks = {n for n in range(width) if _share(body, n, _RANK) >= 0.6}
        titles = [n for n in range(width) if n not in ranks and n not in years]
    if not titles:
        return None, has_header
    return _Columns(titles[0], next((n for n in years if n != titles[0]), None)), has_header


def _share(rows: Sequence[Sequence[str]], column: int, pattern: re.Pattern[str]) -> float:
    cells = [row[column] for row in rows if column < len(row)]
    return sum(pattern.match(cell) is not None for cell in cells) / max(len(cells), 1)


def _row_item(title: str, row: Sequence[str], columns: _Columns) -> TitleYear | None:
    item = read_item(title).item
    if item is None or item.year is not None or columns.year is None or columns.year >= len(row):
        return item
    year = _YEAR.match(row[columns.year])
    return item._replace(year=int(year[1])) if year and is_plausible_year(int(year[1])) else item


def _cell(text: str) -> str:
    return without_emphasis(text.strip()) if len(text) < 1000 else text[:1000]
