"""Recommended lists as text: one item per line, by default "Title (year)".

A domain can set other templates: `line` over {title} and {year}, and `line_without_year` over
{title} alone, for items without a year and for domains without years. Lists may also have years
only where several items of the catalog share a title (`only_namesakes`).
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Collection, Iterable
from functools import cache
from string import Formatter

from convrec.titles.chat_list.line_rule import read_lines
from convrec.titles.chat_list.reader import read_list
from convrec.titles.normalize import exact_key
from convrec.titles.title_year import TitleYear as TitleYear  # importers name it from here

DEFAULT_LINE, DEFAULT_LINE_WITHOUT_YEAR = "{title} ({year})", "{title}"

NAMESAKES = "namesakes"
"""The value of `recommend.years` for lists with years where items share a title."""

_FIELD_PATTERNS = {"title": r"(?P<title>.*\S)", "year": r"(?P<year>\d{4})"}


class LineFormat:
    """Writes an item as a line and reads it back. Use `line_format` to get one.

    Parsing is strict: fixed text must match the template, except for spaces. An item with a
    four-digit year always round-trips; an item without one does unless its title reads as an item
    with a year.
    """

    def __init__(self, line: str, line_without_year: str, *, only_namesakes: bool = False) -> None:
        """An empty `line` means a format without years.

        With `only_namesakes`, an item has its year only if another item of the catalog has the same
        title. Reading needs no catalog, but writing does: see `for_titles`.
        """
        self.line = line
        self.line_without_year = line_without_year
        self.only_namesakes = only_namesakes
        self.has_years = bool(line) and not only_namesakes
        self._namesakes: Collection[str] | None = None  # exact keys, once the catalog is known
        self._dated = _line_pattern(line) if line else None
        self._is_bare_title = line_without_year == DEFAULT_LINE_WITHOUT_YEAR
        self._undated = _line_pattern(line_without_year)

    @property
    def is_default(self) -> bool:
        """Whether this is "Title (year)", or "Title" for an item without a year."""
        default = (DEFAULT_LINE, DEFAULT_LINE_WITHOUT_YEAR)
        return (self.line, self.line_without_year) == default and not self.only_namesakes

    @property
    def identity_settings(self) -> dict[str, str]:
        """The templates as they enter an artifact id; empty for the default format."""
        if self.is_default:
            return {}
        templates = {"line": self.line, "line_without_year": self.line_without_year}
        return templates | ({"years": NAMESAKES} if self.only_namesakes else {})

    @property
    def example(self) -> str:
        """The format as prompts and messages name it: "Title (year)", or "Title"."""
        template = self.line if self.has_years else self.line_without_year
        return template.format(title="Title", year="year")

    def for_titles(self, titles: Iterable[str]) -> LineFormat:
        """The format for the items of a catalog, given by the title of each item."""
        if not self.only_namesakes:
            return self
        counts = Counter(map(exact_key, titles))
        written = copy.copy(self)
        written._namesakes = frozenset(key for key, count in counts.items() if count > 1)
        return written

    def format(self, title: str, year: int | None) -> str:
        """The line for an item."""
        if year is None or not self._has_year(title):
            return title if self._is_bare_title else self.line_without_year.format(title=title)
        return self.line.format(title=title, year=year)

    def _has_year(self, title: str) -> bool:
        """Whether the line of an item with a year has it; a title that reads as dated needs it."""
        if not self.only_namesakes or self._dated is None:
            return self.has_years
        if self._namesakes is None:
            raise ValueError("only for_titles() of this format can write lines")
        return exact_key(title) in self._namesakes or self._dated.match(title) is not None

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
    line: str = DEFAULT_LINE,
    line_without_year: str = DEFAULT_LINE_WITHOUT_YEAR,
    *,
    only_namesakes: bool = False,
) -> LineFormat:
    """The format of these arguments; the same object for the same arguments."""
    return LineFormat(line, line_without_year, only_namesakes=only_namesakes)


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
