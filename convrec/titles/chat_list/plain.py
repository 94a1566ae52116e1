"""The plain form of a list, which most answers have, and how it is read.

A plain list has one title a line, all lines numbered, all with a dash, or all without a marker, and
at most an introduction that ends in a colon. `PLAIN` and `NOT_PLAIN` are regular expressions that
Python and DuckDB read alike, so that a warehouse can tell quickly whether it has other answers.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from functools import lru_cache
from typing import Protocol

from convrec.titles.chat_list.inline import split_sentence
from convrec.titles.title_year import TitleYear

_UPPER, _LETTER = "A-Z0-9À-ÖØ-ÞĀ-ſ", "A-Za-z0-9À-ÖØ-öø-ſ_'’&.,;/+·²³½-"
_WORD = f"[{_UPPER}][{_LETTER}]*[!?:]?"
_ANY_WORD = f"[A-Za-z0-9À-ÖØ-öø-ſ'’&][{_LETTER}]*"
_NO_END = f"[A-Za-z0-9À-ÖØ-öø-ſ'’&](?:[{_LETTER}]*[A-Za-z0-9À-ÖØ-öø-ſ'’])?"
_SMALL = "(?:&|a|an|and|as|at|by|de|des|du|el|en|for|from|in|la|le|les|of|on|or|the|to|v|vs|with)"
_YEAR = r" \([12][0-9]{3}\)"
_FIRST = f"(?:[A-ZÀ-ÖØ-ÞĀ-ſ][{_LETTER}]*|[0-9]+(?:[A-Za-z'’,/-][{_LETTER}]*|:[0-9]+)?)[!?:]?"
_DATED = rf"{_FIRST}(?: {_ANY_WORD}[!?:]?| - {_ANY_WORD}[!?:]?)*{_YEAR}"
_CASED = rf"{_FIRST}(?: {_WORD}| {_SMALL}| - {_WORD})*"
_LOWER = rf"{_FIRST}(?: {_ANY_WORD}){{0,5}} {_NO_END}"
_SUBTITLED = rf"{_FIRST}(?: {_ANY_WORD}){{0,5}}: {_WORD}(?: {_ANY_WORD})?(?: {_NO_END})?"
_LINE = rf"(?:{_DATED}|{_CASED}|{_LOWER}|{_SUBTITLED}) *"
_MARKERS = (r"[0-9]{1,3}[.)] ", "- ", "")
_PAIR = rf"[A-ZÀ-ſ][^\n]*{_YEAR}\n[^\n]*[^\n)]"
_INTRODUCTION = r"(?:[A-Z][A-Za-z ,.'!]*:\n+)?"
_LISTS = "|".join(
    f"{marker}{_LINE}(?:{gap}{marker}{_LINE})*"
    for marker, gap in zip(_MARKERS, ("\\n+", "\\n+", "\\n"), strict=True)
)

_RATING = r'\{"[a-z]+": -?[0-9]+(?:, "[a-z]+": -?[0-9]+)*\}'
_RATINGS = rf'\{{"[a-z]+": \[{_RATING}(?:, {_RATING})*\]\}}'
"""A judge's answer where a list was expected: always read as one title, which links nowhere."""

PLAIN = rf"\n*{_INTRODUCTION}(?:{_LISTS})\n*|{_RATINGS}"
"""Matches the whole of a plain list, and some other texts."""


def _counted(number: str, letter: str) -> str:
    """The beginning of a line with a number in any form but "1. " and "1) "."""
    return (
        rf"(?:- {number}[.)] |(?:[A-Za-z]{{2,20}}\.? )?{number}(?:[:,º]| - |[.)][^ ]| [A-Z0-9])"
        rf"|{letter}[.)] )"
    )


NOT_PLAIN = "|".join(
    (
        # explanations behind dashes, or authors, on the first three lines
        rf"^\n*{_INTRODUCTION}(?:[^\n]* (?:-|by) [^\n(]*\n){{2}}[^\n]* (?:-|by) [^\n(]*(?:\n|$)",
        # a line of explanation below each of the first titles
        rf"^\n*{_INTRODUCTION}{_PAIR}(?:\n{_PAIR}(?:\n{_PAIR})?\n*$|(?:\n{_PAIR}){{3}})",
        rf"(?:^|\n){_counted('1', '[IA]')}[^\n]*\n+{_counted('2', '(?:II|B)')}",
        r"^\n*[^\n]*(?:sorry|cannot|can't|unable|nfortunately)[^\n]*:\n",
        # sentences, labels, years without brackets
        r"(?:^|\n)(?:[0-9]{1,3}[.)] |- )?"
        r"(?:Title|Movie|Film|Book|Name|Director|Writer|Stars|Starring|Cast|Release|Rating|Runtime|"
        r"Synopsis|Genre|Year|Why|Plot)[a-z]*: ",
        r"(?:^|\n)(?:Here|Sure|Enjoy|Hope|These|This|Let|Based|I|If|My|As|Note|Please|Thank|Thanks|"
        r"Sorry|Unfortunately|Recommend|Recommended|Recommendations|Top|List|You|We|For|Happy|Feel|"
        r"Certainly|All|Each|Great|Have|Would|Do|I['’][a-z]+|Here['’]s)"
        r"[,.!]?(?: [a-z’']+(?: [a-z][^\n(:]*)?)?[.!]?(?:\n|$)",
        r", ?[12][0-9]{3} *(?:\n|$)",
    )
)
"""Occurs in texts that match `PLAIN` but need more than reading line by line."""

_PLAIN_LINES = [re.compile(f"{marker}{_LINE}") for marker in _MARKERS]
_NOT_PLAIN, _PLAIN_INTRODUCTION = re.compile(NOT_PLAIN), re.compile(rf"\n*{_INTRODUCTION}")
_MARKER = re.compile(r"^\s*(?:(?:\d{1,3}[.)]|[-*•])\s+)?")


class ListForm(Hashable, Protocol):
    """What reading needs of a line format."""

    @property
    def is_default(self) -> bool:
        """Whether the form is "Title (year)"."""

    def parse(self, line: str) -> TitleYear | None:
        """The item of a line in this form."""


def is_plain(text: str) -> bool:
    """Whether a text is a plain list: it matches all of `PLAIN`, and `NOT_PLAIN` nowhere.

    Lines are matched one by one, because Python would try every way to read them all.
    """
    if text.startswith("{"):
        return re.fullmatch(_RATINGS, text) is not None
    introduction = _PLAIN_INTRODUCTION.match(text)
    body = text[introduction.end() if introduction else 0 :].rstrip("\n")
    lines = body.split("\n")
    line = next((pattern for pattern in _PLAIN_LINES if pattern.fullmatch(lines[0])), None)
    if line is None:
        return False
    if line is not _PLAIN_LINES[-1]:
        lines = [one for one in lines if one]
    return all(map(line.fullmatch, lines)) and _NOT_PLAIN.search(text) is None


def read_lines(text: str, form: ListForm, default: ListForm) -> list[tuple[str, TitleYear]]:
    """(raw line, item) of each line that does not end in a colon.

    Numbers, bullets, bold and double quotes around a title are removed. A line that is in neither
    form is a title. A response of one line is split at its commas if that gives at least
    MIN_INLINE_TITLES pieces.
    """
    items = []
    for raw in split_sentence(text.strip()) or text.splitlines():
        line = line_content(_MARKER.sub("", raw, count=1))
        if line and not line.endswith(":") and (item := _parse_line(line, form, default)):
            items.append((raw, item))
    return items


def line_content(line: str) -> str:
    """A line without bold and underscores, for `ListForm.parse`."""
    return line.strip().replace("**", "").strip("_ ").strip()


@lru_cache(maxsize=1 << 16)  # popular items repeat the same lines
def _parse_line(line: str, form: ListForm, default: ListForm) -> TitleYear | None:
    """Read a line that may have an unrequested year, lack its year, or use the default format."""
    items = (item for item in (form.parse(line), default.parse(line)) if item)
    item = min(items, key=lambda item: item.year is None, default=None)  # the first with a year
    title = item.title.strip().strip('"“”').strip() if item else ""
    return TitleYear(title, item.year) if item and title else None
