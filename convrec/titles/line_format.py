"""Recommended lists as text: one item per line, by default "Title (year)".

A domain can set other templates: `line` over {title} and {year}, and `line_without_year` over
{title} alone, for items without a year and for domains without years.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from string import Formatter
from typing import NamedTuple

DEFAULT_LINE, DEFAULT_LINE_WITHOUT_YEAR = "{title} ({year})", "{title}"

MIN_INLINE_TITLES = 4
"""A single line is read as a list from this many pieces; a title may itself have three."""

_FIELD_PATTERNS = {"title": r"(?P<title>.*\S)", "year": r"(?P<year>\d{4})"}
_MARKER = re.compile(r"^\s*(?:(?:\d{1,3}[.)]|[-*•])\s+)?")
_INTRODUCTION = re.compile(r"^.*(?:\b[a-z]+:|\b[Hh]ow about|\blike|\bsuch as)\s+")
_INLINE_SEPARATOR = re.compile(r",\s+(?:and\s+)?|(?<=[a-z])[.?!]\s+(?=[A-Z])")


class TitleYear(NamedTuple):
    """A title as written, and its year if it has one."""

    title: str
    year: int | None


class LineFormat:
    """Writes an item as a line and reads it back. Use `line_format` to get one.

    Parsing is strict: fixed text must match the template, except for spaces. An item with a
    four-digit year always round-trips; an item without one does unless its title reads as an item
    with a year.
    """

    def __init__(self, line: str, line_without_year: str) -> None:
        """An empty `line` means a format without years."""
        self.line = line
        self.line_without_year = line_without_year
        self.has_years = bool(line)
        self._dated = _line_pattern(line) if line else None
        self._is_bare_title = line_without_year == DEFAULT_LINE_WITHOUT_YEAR
        self._undated = _line_pattern(line_without_year)

    @property
    def is_default(self) -> bool:
        """Whether this is "Title (year)", or "Title" for an item without a year."""
        default = (DEFAULT_LINE, DEFAULT_LINE_WITHOUT_YEAR)
        return (self.line, self.line_without_year) == default

    @property
    def identity_settings(self) -> dict[str, str]:
        """The templates as they enter an artifact id; empty for the default format."""
        if self.is_default:
            return {}
        return {"line": self.line, "line_without_year": self.line_without_year}

    @property
    def example(self) -> str:
        """The format as prompts and messages name it: "Title (year)", or "Title"."""
        return (self.line or self.line_without_year).format(title="Title", year="year")

    def format(self, title: str, year: int | None) -> str:
        """The line for an item."""
        if year is None or not self.has_years:
            return title if self._is_bare_title else self.line_without_year.format(title=title)
        return self.line.format(title=title, year=year)

    def parse(self, line: str) -> TitleYear | None:
        """Read a line written by `format`; None if it is empty or in another format."""
        text = line.strip()
        if not text:
            return None
        match = self._dated.match(text) if self._dated else None
        if match:
            return TitleYear(match["title"], int(match["year"]))
        if self._is_bare_title:
            return TitleYear(text, None)
        match = self._undated.match(text)
        return TitleYear(match["title"], None) if match else None


@cache
def line_format(
    line: str = DEFAULT_LINE, line_without_year: str = DEFAULT_LINE_WITHOUT_YEAR
) -> LineFormat:
    """The format of these templates; the same object for the same templates."""
    return LineFormat(line, line_without_year)


def _line_pattern(template: str) -> re.Pattern[str]:
    parts = []
    for fixed, name, _, _ in Formatter().parse(template):
        parts.append(r"\s*".join(re.escape(piece) for piece in re.split(r"\s+", fixed)))
        parts.append(_FIELD_PATTERNS[name] if name else "")
    return re.compile(f"^{''.join(parts)}$")


DEFAULT_FORMAT = line_format()

format_line = DEFAULT_FORMAT.format
parse_line = DEFAULT_FORMAT.parse


def parse_chat_list(
    text: str, form: LineFormat = DEFAULT_FORMAT, *, is_cut: bool = False
) -> list[tuple[str, TitleYear]]:
    """Read a chat model's list: (raw line, title and year) for each line that names an item.

    Numbers, bullets, emphasis and surrounding quotes are removed. A line that ends in a colon is an
    introduction and is skipped. A line in another format is read as "Title (year)" or "Title". A
    response of one line ("How about Heat, Ronin, and Speed?") is split at its commas if that gives
    at least MIN_INLINE_TITLES pieces. The last line of a cut text without a newline is dropped.
    """
    if is_cut and not text.endswith("\n"):
        text = text.rpartition("\n")[0]
    items = []
    for raw in _split_inline_list(text.strip()) or text.splitlines():
        line = _MARKER.sub("", raw, count=1).strip().replace("**", "").strip("_ ").strip()
        if line and not line.endswith(":") and (item := _parse_title(line, form)):
            items.append((raw, item))
    return items


@lru_cache(maxsize=1 << 16)  # popular items repeat the same lines
def _parse_title(line: str, form: LineFormat) -> TitleYear | None:
    """Read a line that may have an unrequested year, lack its year, or use the default format."""
    items = (item for item in (form.parse(line), DEFAULT_FORMAT.parse(line)) if item)
    item = min(items, key=lambda item: item.year is None, default=None)  # the first with a year
    title = item.title.strip().strip('"“”').strip() if item else ""
    return TitleYear(title, item.year) if item and title else None


def _split_inline_list(text: str) -> list[str]:
    """The titles of a list written in one or two sentences; empty for any other text."""
    pieces = [] if "\n" in text else _INLINE_SEPARATOR.split(text)
    if len(pieces) < MIN_INLINE_TITLES:
        return []
    first = next((n for n, piece in enumerate(pieces) if _INTRODUCTION.match(piece)), 0)
    return [_INTRODUCTION.sub("", piece).strip(" .?!") for piece in pieces[first:]]
