"""Lists as JSON: arrays of titles or objects, objects with lists, JSON lines, also cut off."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from convrec.titles.chat_list.item import read_item
from convrec.titles.chat_list.lines import read_items
from convrec.titles.chat_list.markers import mark_lines
from convrec.titles.normalize import is_plausible_year
from convrec.titles.title_year import TitleYear

_START = re.compile(r"^[ \t]*(?:[A-Za-z_]\w*\s?=\s?)?(?=[\[{])", re.MULTILINE)
_INLINE_START = re.compile(r"[\[{](?=\s*[\[{\"'])")
_TRAILING_COMMA = re.compile(r",(?=\s{0,200}[\]}])")
_COMMENT = re.compile(r"^\s*//.*$", re.MULTILINE)
_YEAR = re.compile(r"(?<!\d)(1[4-9]\d\d|20\d\d)(?!\d)")
_TITLE_KEYS = (
    "title", "movie_title", "movietitle", "film_title", "book_title", "original_title", "name",
    "movie", "film", "book", "movie_name", "film_name", "item", "show", "recommendation", "titre",
    "titel", "título", "titolo", "片名", "电影", "タイトル", "label", "text", "value",
)  # fmt: skip
_YEAR_KEYS = (
    "year", "release_year", "releaseyear", "year_released", "yearreleased", "release year",
    "released", "release_date", "releasedate", "release", "date", "published", "publication_year",
    "año", "ano", "année", "jahr", "anno", "年份", "年",
)  # fmt: skip
_MAX_DEPTH = 6

Item = tuple[str, TitleYear]
"""The element as text, and what it names."""


def read_json(text: str, *, is_cut: bool) -> list[Item]:
    """The items of the first JSON value in a text that has any; empty if there is none."""
    for body in _json_texts(text):
        value = _load(body, is_cut=is_cut)
        if value is not None and (items := list(_items(value, 0))):
            return items
    return []


def is_json(text: str) -> bool:
    """Whether a text is JSON and nothing else."""
    try:
        return isinstance(json.loads(text), list | dict)
    except (ValueError, RecursionError):
        return False


def _json_texts(text: str) -> Iterator[str]:
    """Where JSON may start: at the first bracket that begins a line, or in the first line."""
    if "[" not in text and "{" not in text:
        return
    if start := _START.search(text):
        yield text[start.end() :]
    if inline := _INLINE_START.search(text):
        yield text[inline.start() :]


def _load(text: str, *, is_cut: bool) -> Any:
    """The value at the beginning of a text, or the complete elements of one that is cut off."""
    values = _json_values(text)
    if values:
        return values[0] if len(values) == 1 else values
    body, closed = _complete_part(text)
    if not body or (is_cut and not closed and not body):
        return None
    for candidate in (body, _TRAILING_COMMA.sub("", _COMMENT.sub("", body))):
        if loaded := _json_values(candidate):
            return loaded[0]
    return _python_literal(body)


def _json_values(text: str) -> list[Any]:
    """The JSON values in a row at the beginning of a text, one per line or separated by commas."""
    decoder, values, position = json.JSONDecoder(strict=False), [], 0
    while position < len(text) and text[position] in "[{":
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            break
        values.append(value)
        rest = re.compile(r"[\s,]*").match(text, position)
        position = rest.end() if rest else position
    return values


def _python_literal(text: str) -> Any:
    if len(text) > 100_000:
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


def _complete_part(text: str) -> tuple[str, bool]:
    """(text up to its last complete element with all brackets closed, whether it was closed)."""
    stack: list[str] = []
    quote, escaped = "", False
    best, best_stack = 0, ""
    for position, sign in enumerate(text):
        if quote:
            if escaped:
                escaped = False
            elif sign == "\\":
                escaped = True
            elif sign == quote and not (
                sign == "'" and text[position + 1 : position + 2].isalnum()
            ):
                quote = ""
        elif sign == '"' or (sign == "'" and not text[position - 1 : position].isalnum()):
            quote = sign
        elif sign in "[{":
            stack.append("]" if sign == "[" else "}")
            if len(stack) > 50:
                return "", False
        elif sign in "]}":
            if not stack or stack.pop() != sign:
                return "", False
            if not stack:
                return text[: position + 1], True
            if stack[-1] == "]":
                best, best_stack = position + 1, "".join(reversed(stack))
        elif sign == "," and stack[-1:] == ["]"]:
            best, best_stack = position, "".join(reversed(stack))
    return text[:best] + best_stack, False


def _items(value: Any, depth: int) -> Iterator[Item]:
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, str):
        if "\n" in value:
            yield from ((line.raw, item) for line, item in read_items(value))
        elif item := _named(value, None):
            yield value, item
    elif isinstance(value, Mapping):
        yield from _items_of_object(value, depth)
    elif isinstance(value, list | tuple):
        if item := _row(value):
            yield json.dumps(value, ensure_ascii=False), item
            return
        for element in value:
            yield from _items(element, depth + 1)


def _items_of_object(value: Mapping[str, Any], depth: int) -> Iterator[Item]:
    lower = {str(key).strip().lower(): element for key, element in value.items()}
    year = next((year for key in _YEAR_KEYS if (year := _year(lower.get(key)))), None)
    if columns := _columns(lower):
        yield from columns
        return
    for key in _TITLE_KEYS:
        if isinstance(lower.get(key), str):
            if item := _named(lower[key], year):
                yield json.dumps(value, ensure_ascii=False), item
            return
        if isinstance(lower.get(key), Mapping):
            yield from _items_of_object({"year": year, **lower[key]}, depth + 1)
            return
    nested = _nested(lower)
    if nested:
        for element in nested:
            yield from _items(element, depth + 1)
    elif all(_is_number_key(key) for key in lower):
        for element in value.values():
            yield from _items(element, depth + 1)
    elif dated := list(_keys_with_years(value)):
        yield from dated
    else:
        yield from (item for text in value.values() if _has_lines(text) for item in _items(text, 1))


def _nested(value: Mapping[str, Any]) -> list[Any]:
    """The lists and objects in an object: those that are called recommendations, or else all."""
    nested = {key: inner for key, inner in value.items() if isinstance(inner, list | Mapping)}
    named = [inner for key, inner in nested.items() if key.startswith(("recommend", "suggest"))]
    return named or list(nested.values())


def _has_lines(value: object) -> bool:
    return isinstance(value, str) and "\n" in value


def _columns(value: Mapping[str, Any]) -> list[Item]:
    """The items of {"title": ["Heat", "Ronin"], "year": [1995, 1998]}; empty for other objects."""
    lists = {
        key.rstrip("s"): inner
        for key, inner in value.items()
        if isinstance(inner, list) and all(isinstance(cell, str | int) for cell in inner)
    }
    titles = next((lists[key] for key in _TITLE_KEYS if key in lists), [])
    years = next((lists[key] for key in _YEAR_KEYS if key in lists), [])
    if len(titles) != len(years):
        return []
    named = ((str(t), _named(str(t), _year(y))) for t, y in zip(titles, years, strict=True))
    return [(text, item) for text, item in named if item]


def _keys_with_years(value: Mapping[str, Any]) -> Iterator[Item]:
    """The items of {"Heat": 1995, "Ronin": 1998} or {"Heat (1995)": "why"}."""
    for key, element in value.items():
        item = _named(str(key), _year(element) if isinstance(element, int) else None)
        if item and item.year is not None:
            yield str(key), item


def _row(value: list[Any] | tuple[Any, ...]) -> TitleYear | None:
    """The item of ["Heat", 1995] or [1, "Heat", 1995]."""
    texts = [element for element in value if isinstance(element, str)]
    years = [year for element in value if isinstance(element, int) and (year := _year(element))]
    if len(texts) != 1 or len(years) != 1 or len(value) > 3:
        return None
    return _named(texts[0], years[0])


def _named(text: str, year: int | None) -> TitleYear | None:
    line = mark_lines([text])[0].content if "\n" not in text else ""
    reading = read_item(line)
    if reading.item is None or (reading.is_remark and not reading.is_dated and year is None):
        return None
    return reading.item if reading.is_dated else reading.item._replace(year=year)


def _year(value: Any) -> int | None:
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        found = _YEAR.search(str(value))
        if found and is_plausible_year(int(found[1])):
            return int(found[1])
    return None


def _is_number_key(key: str) -> bool:
    return re.fullmatch(r"(?:#|[a-z]{2,20})?[\s_.-]?\d{1,3}[.) ]{0,2}", key.strip()) is not None
