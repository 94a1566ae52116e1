"""Which lines of a text are items.

The lines of a text have levels: numbered lines, bullets, bullets below bullets, headings, and lines
without a marker. The items are on one level; the others explain. A level on which most lines have a
year is the one; otherwise it is the first level that has titles. What stands between two numbers
that follow each other has no rank.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from convrec.titles.chat_list.inline import split_dated, split_numbered
from convrec.titles.chat_list.item import Reading, read_item
from convrec.titles.chat_list.markers import MarkedLine, mark_lines
from convrec.titles.chat_list.remarks import YEAR_LABEL
from convrec.titles.title_year import TitleYear

NUMBERS, BULLETS, SUB_BULLETS, HEADINGS, UNMARKED = range(5)
"""The levels of a list, the likeliest for items first."""

_SUB_INDENT = 2
"""A line that is indented more than this below another is a detail of it."""


_FENCE = ("```", "~~~")
_YEAR_FIRST = re.compile(r"(?P<year>(?:1[89]|20)\d\d)\s*[-–—:|]\s+(?P<title>\S.{0,150})")
_YEAR_LAST = re.compile(r"(?P<title>\S.{0,150}?)(?: from)?\s(?P<year>(?:1[89]|20)\d\d)")
_MIN_YEARS = 3
"""Lines with a year at the same place that make it the year of each."""

_NOTHING = re.compile(
    r"\W*(?:no|none|null|nil|nothing|n/a|undefined|(?:an? )?error(?:: .*)?|(?:\w+ )?"
    r"(?:request|content|message|answer|response) (?:denied|removed|blocked|filtered|refused|"
    r"unavailable|deleted)|"
    r"no (?:\w+ )?(?:films?|movies?|books?|titles?|items?|recommendations?|suggestions?|results?|"
    r"matches|answer|response|data)(?: (?:found|available|possible|given|to give))?)\W*",
    re.IGNORECASE,
)
"""Matches the whole of an answer that says that there is none."""


class Line(NamedTuple):
    """A marked line, what it says, and its level; -1 for a detail that has no rank."""

    marked: MarkedLine
    reading: Reading
    level: int

    @property
    def is_title(self) -> bool:
        """Whether the line may name an item."""
        reading = self.reading
        if reading.item is None:
            return False
        if reading.is_dated:
            return not (reading.is_remark or reading.is_label) or self.level == NUMBERS
        return not (reading.is_remark or reading.is_label)


def read_items(text: str) -> list[tuple[MarkedLine, TitleYear]]:
    """(marked line, item) for each line that names an item, in order."""
    if len(text) < 200 and _NOTHING.fullmatch(text):
        return []
    lines = _lines(text)
    level = _item_level(lines)
    if level is None:
        return []
    found: list[tuple[MarkedLine, TitleYear]] = []
    for line, is_item in zip(lines, _are_items(lines, level), strict=True):
        if is_item:
            found += _items_of(line)
        elif found and found[-1][1].year is None:
            found[-1] = (found[-1][0], _with_year_of(line, found[-1][1]))
    return found


def _lines(text: str) -> list[Line]:
    written = [piece for line in text.splitlines() for piece in split_numbered(line)]
    written = [line for line in written if not line.lstrip().startswith(_FENCE)]
    marked = mark_lines([line for line in written if line.strip()])
    readings = [read_item(content) for content in _contents(marked)]
    bullets = [line.indent for line in marked if line.is_bullet and line.number is None]
    least = min(bullets, default=0)
    details = _nested_numbers(marked)
    return [
        Line(line, reading, -1 if index in details else _level(line, reading, least))
        for index, (line, reading) in enumerate(zip(marked, readings, strict=True))
    ]


def _contents(lines: Sequence[MarkedLine]) -> list[str]:
    """What the lines say; a year that most items begin or end with is put in brackets."""
    contents = [line.content.strip() for line in lines]
    listed = [line.number is not None or line.is_bullet for line in lines]
    total = sum(listed) or len(lines)
    for pattern in (_YEAR_FIRST, _YEAR_LAST):
        found = [pattern.fullmatch(content) for content in contents]
        if sum(map(bool, found)) >= max(_MIN_YEARS, 0.8 * total):
            return [
                f"{match['title']} ({match['year']})" if match else content
                for match, content in zip(found, contents, strict=True)
            ]
    return contents


def _level(line: MarkedLine, reading: Reading, least_indent: int) -> int:
    if line.number is not None:
        return NUMBERS
    if line.is_bullet:
        return BULLETS if line.indent - least_indent < _SUB_INDENT else SUB_BULLETS
    return HEADINGS if line.is_heading or reading.is_emphasized else UNMARKED


def _nested_numbers(lines: Sequence[MarkedLine]) -> set[int]:
    """The numbered lines that number the details of another."""
    nested: set[int] = set()
    outer: MarkedLine | None = None
    inner: MarkedLine | None = None
    for index, line in enumerate(lines):
        if line.number is None:
            continue
        deeper = outer is not None and line.indent - outer.indent >= _SUB_INDENT
        follows_inner = inner is not None and line.number == (inner.number or 0) + 1
        follows_outer = outer is not None and line.number == (outer.number or 0) + 1
        if deeper and (follows_inner or not follows_outer):
            nested.add(index)
            inner = line
        else:
            outer, inner = line, None
    return nested


def _item_level(lines: Sequence[Line]) -> int | None:
    levels = [[line for line in lines if line.level == level] for level in range(UNMARKED + 1)]
    for level, of_level in enumerate(levels):
        dated = sum(line.is_title and line.reading.is_dated for line in of_level)
        if dated and 2 * dated >= len(of_level):
            return level
    titles = [sum(line.is_title for line in of_level) for of_level in levels]
    if titles[NUMBERS] and not _are_categories(levels[NUMBERS], titles):
        return NUMBERS
    order = [BULLETS, SUB_BULLETS, HEADINGS, UNMARKED]
    if titles[UNMARKED] > titles[HEADINGS]:
        order = [BULLETS, SUB_BULLETS, UNMARKED, HEADINGS]
    if titles[BULLETS] and all(line.reading.is_label for line in levels[SUB_BULLETS]):
        return BULLETS
    return next((level for level in order if titles[level]), None)


def _are_categories(numbered: Sequence[Line], titles: Sequence[int]) -> bool:
    """Whether numbered lines only introduce the bullets below them ("1. Action:")."""
    introduce = all(line.marked.raw.rstrip("*_ ").endswith(":") for line in numbered)
    return introduce and titles[BULLETS] + titles[SUB_BULLETS] > len(numbered)


def _are_items(lines: Sequence[Line], level: int) -> list[bool]:
    """For each line, whether it is an item of a text whose items are on `level`."""
    if level == NUMBERS:
        return _are_ranked(lines)
    of_level = [line for line in lines if line.level == level]
    named = sum(line.reading.is_named for line in of_level)
    explained = (level == UNMARKED and _are_explained(of_level)) or (
        level == HEADINGS and _are_dated(of_level)
    )
    return [
        (
            line.level == level
            and line.is_title
            and (named < 2 or line.reading.is_named)
            and (line.reading.is_dated or not explained)
        )
        or _is_clearly_an_item(line)
        for line in lines
    ]


def _are_ranked(lines: Sequence[Line]) -> list[bool]:
    """The numbered lines, and others where numbers are missing or after the last number."""
    result = [line.level == NUMBERS and line.reading.item is not None for line in lines]
    positions = [index for index, line in enumerate(lines) if line.level == NUMBERS]
    number, details = 0, 0
    for before, after in pairwise([-1, *positions]):
        gap = (lines[after].marked.number or 0) - number - 1
        number = lines[after].marked.number or 0
        titles = [i for i in range(before + 1, after) if lines[i].is_title]
        is_open = gap > 0 and (before >= 0 or gap <= len(titles))
        for index in titles[-gap:] if is_open else ():
            result[index] = True
        details += 0 if is_open else sum(_is_clearly_an_item(lines[i]) for i in titles)
    for index in range(positions[-1] + 1, len(lines)):
        result[index] = not details and _is_clearly_an_item(lines[index])
    return result


def _are_dated(lines: Sequence[Line]) -> bool:
    """Whether nearly all lines have a year, so that another line is a heading ("In short")."""
    dated = sum(line.reading.is_dated for line in lines)
    return dated >= _MIN_YEARS and dated >= 0.8 * len(lines)


def _are_explained(lines: Sequence[Line]) -> bool:
    """Whether each of the dated lines has an explanation below it."""
    kinds = [line.reading.is_dated for line in lines if line.is_title]
    dated = sum(kinds)
    below = sum(a and not b for a, b in zip(kinds, [*kinds[1:], True], strict=True))
    return dated >= 2 and kinds[0] and below >= 0.8 * dated


def _is_clearly_an_item(line: Line) -> bool:
    return (
        line.level in (UNMARKED, HEADINGS, BULLETS)
        and line.is_title
        and line.reading.is_dated
        and line.reading.is_exact
    )


def _items_of(line: Line) -> Iterator[tuple[MarkedLine, TitleYear]]:
    """The items of a line: one, unless it lists several with their years."""
    pieces = split_dated(line.marked.content) if line.level != NUMBERS else []
    items = [reading.item for reading in map(read_item, pieces) if reading.is_dated]
    if len(items) > 1 and len(items) == len(pieces):
        yield from ((line.marked, item) for item in items if item)
    elif line.reading.item:
        yield line.marked, line.reading.item


def _with_year_of(detail: Line, item: TitleYear) -> TitleYear:
    year = YEAR_LABEL.match(detail.marked.content.strip())
    return item._replace(year=int(year[1])) if year else item
