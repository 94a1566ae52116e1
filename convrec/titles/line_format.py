"""Recommended lists as text: one item per line, by default "Title (year)".

A domain can set other templates: `line` over {title} and {year}, and `line_without_year` over
{title} alone, for items without a year and for domains without years.
"""

from __future__ import annotations

import re
from functools import cache
from string import Formatter

from convrec.titles.chat_list.line_rule import read_lines
from convrec.titles.chat_list.reader import read_list
from convrec.titles.title_year import TitleYear as TitleYear  # importers name it from here

DEFAULT_LINE, DEFAULT_LINE_WITHOUT_YEAR = "{title} ({year})", "{title}"

_FIELD_PATTERNS = {"title": r"(?P<title>.*\S)", "year": r"(?P<year>\d{4})"}


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
    """Read a chat model's list: (raw line, title and year) for each item, the best first.

    Numbered lists, bullets, tables, JSON and lists in one sentence are read, with or without
    explanations. Introductions, headings, details and refusals are no items. If the model was
    stopped (`is_cut`), what may be incomplete at the end is left out.
    """
    return read_list(text, form, is_cut=is_cut)


def parse_list_lines(text: str, form: LineFormat = DEFAULT_FORMAT) -> list[tuple[str, TitleYear]]:
    """Read a list of one title a line, each with at most a number, a bullet, bold or quotes."""
    return read_lines(text, form, DEFAULT_FORMAT)
