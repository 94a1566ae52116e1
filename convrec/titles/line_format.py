"""Recommended lists as text: one item a line, by default "Title (year)", or "Title" without years.

A domain may have another form, given as two templates: `line` over {title} and {year}, and
`line_without_year` over {title} alone, for items without a year and for domains without years.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from string import Formatter
from typing import NamedTuple

LINE, LINE_WITHOUT_YEAR = "{title} ({year})", "{title}"
"""The templates of the default form."""

_GROUPS = {"title": r"(?P<title>.*\S)", "year": r"(?P<year>\d{4})"}
_MARKER = re.compile(r"^\s*(?:(?:\d{1,3}[.)]|[-*•])\s+)?")


_INTRODUCTION = re.compile(r"^.*(?:\b[a-z]+:|\b[Hh]ow about|\blike|\bsuch as)\s+")
_CUT = re.compile(r",\s+(?:and\s+)?|(?<=[a-z])[.?!]\s+(?=[A-Z])")
SENTENCE = 4
"""Pieces from which a line with commas is a list; a title with three is another matter."""


class Item(NamedTuple):
    """A title as written, and its year where one is given."""

    title: str
    year: int | None


class LineFormat:
    """How an item is written as a line, and read back; `line_format` makes one.

    Reading is strict: fixed text must stand as the template has it, spaces in it aside. Every item
    with a year of four digits comes back as it was, and one without where its title does not read
    as an item with a year.
    """

    def __init__(self, line: str, line_without_year: str) -> None:
        """An empty `line` is a form without years."""
        self.line = line
        self.line_without_year = line_without_year
        self.years = bool(line)
        self._dated = _reader(line) if line else None
        self._bare = line_without_year == LINE_WITHOUT_YEAR
        self._undated = _reader(line_without_year)

    @property
    def key(self) -> dict[str, str]:
        """What an artifact's key says of the form; nothing for the default one."""
        if (self.line, self.line_without_year) == (LINE, LINE_WITHOUT_YEAR):
            return {}
        return {"line": self.line, "line_without_year": self.line_without_year}

    @property
    def words(self) -> str:
        """The form as a prompt names it: "Title (year)", or "Title"."""
        return (self.line or self.line_without_year).format(title="Title", year="year")

    def format(self, title: str, year: int | None) -> str:
        """The line of an item in a list."""
        if year is None or not self.years:
            return title if self._bare else self.line_without_year.format(title=title)
        return self.line.format(title=title, year=year)

    def parse(self, line: str) -> Item | None:
        """Read one line exactly as `format` writes it; None for an empty or another line."""
        text = line.strip()
        if not text:
            return None
        found = self._dated.match(text) if self._dated else None
        if found:
            return Item(found["title"], int(found["year"]))
        if self._bare:
            return Item(text, None)
        found = self._undated.match(text)
        return Item(found["title"], None) if found else None


@cache
def line_format(line: str = LINE, line_without_year: str = LINE_WITHOUT_YEAR) -> LineFormat:
    """The form of these templates, the same object each time. An empty `line` has no years."""
    return LineFormat(line, line_without_year)


def _reader(template: str) -> re.Pattern[str]:
    parts = []
    for fixed, name, _, _ in Formatter().parse(template):
        parts.append(r"\s*".join(re.escape(piece) for piece in re.split(r"\s+", fixed)))
        parts.append(_GROUPS[name] if name else "")
    return re.compile(f"^{''.join(parts)}$")


TITLE_YEAR = line_format()
"""The default form: "Title (year)", or "Title" where an item has no year."""

format_line = TITLE_YEAR.format
parse_line = TITLE_YEAR.parse


def parse_answer(text: str, form: LineFormat = TITLE_YEAR) -> list[tuple[str, Item]]:
    """Read a chat model's list: (raw line, item) for each line that names something.

    Numbering, bullets, emphasis and surrounding quotes are taken off; a line that ends in a colon
    (an introduction) names nothing. A line in another form is read as "Title (year)" or "Title". An
    answer that is one line ("How about Heat, Ronin, and Speed?") is cut at its commas, where that
    gives SENTENCE or more pieces.
    """
    items = []
    for raw in _sentence(text.strip()) or text.splitlines():
        line = _MARKER.sub("", raw, count=1).strip().replace("**", "").strip("_ ").strip()
        if not line or line.endswith(":"):
            continue
        if (item := _named(line, form)) is not None:
            items.append((raw, item))
    return items


@lru_cache(maxsize=1 << 16)
def _named(line: str, form: LineFormat) -> Item | None:
    """What a line names; the same lines come again and again, as popular items do."""
    item = _forgiving(line, form)
    title = item.title.strip().strip('"“”').strip() if item is not None else ""
    return Item(title, item.year) if item is not None and title else None


def _sentence(text: str) -> list[str]:
    """The titles of a list written as one sentence or two; empty for any other text."""
    pieces = [] if "\n" in text else _CUT.split(text)
    if len(pieces) < SENTENCE:
        return []
    first = next((n for n, piece in enumerate(pieces) if _INTRODUCTION.match(piece)), 0)
    return [_INTRODUCTION.sub("", piece).strip(" .?!") for piece in pieces[first:]]


def _forgiving(line: str, form: LineFormat) -> Item | None:
    """A teacher may give a year that nobody asked for, or none, or the usual form."""
    item = form.parse(line) if form.years else None
    if item is not None and item.year is not None:
        return item
    usual = TITLE_YEAR.parse(line)
    return usual if usual is not None and usual.year is not None else form.parse(line) or usual
