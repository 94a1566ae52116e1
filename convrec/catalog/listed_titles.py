"""Titles as MovieLens lists them: article last, other names in brackets, the year at the end.

"City of Lost Children, The (Cité des enfants perdus, La) (1995)" is The City of Lost Children, also
La Cité des enfants perdus, of 1995.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from convrec.titles.normalize import split_year
from convrec.titles.parse import move_article_to_front
from convrec.titles.remarks import read_remark

NO_GENRES = "(no genres listed)"
"""What MovieLens writes for an item without genres."""

MIN_SHARE = 0.5
"""Titles are treated as listed titles if more than this share of them ends in a year."""

_LAST_BRACKET = re.compile(r"^(?P<rest>.*\S)\s*\((?P<content>[^()]*)\)$")
_AKA = re.compile(r"^a\.?\s?k\.?\s?a\.?:?\s+", re.IGNORECASE)
_NO_NAME = re.compile(
    r"^(?:part|vol|volume|chapter|episode|season|no)\b|^\W*\d*\W*$", re.IGNORECASE
)
_OPEN_END = re.compile(r"\b(?:or|and|of)$|[:,&-]$", re.IGNORECASE)
_YEAR_AT_END = re.compile(r"\((?:1[4-9]|20)\d\d\)\s*$")


class ListedTitle(NamedTuple):
    """The parts of a listed title."""

    title: str
    year: int | None
    aliases: list[str]


def split_listed_title(text: str) -> ListedTitle:
    """Split a listed title; a bracket that names no other title stays in the title."""
    rest, year = split_year(text)
    aliases: list[str] = []
    while match := _LAST_BRACKET.match(rest):
        name = _AKA.sub("", match["content"].strip())
        is_name = not _NO_NAME.match(name) and read_remark(name).is_name
        if not is_name or _OPEN_END.search(match["rest"]):
            break
        aliases.insert(0, _article_first(name))
        rest = match["rest"]
    return ListedTitle(_article_first(rest), year, aliases)


def have_years(titles: Iterable[object]) -> bool:
    """Whether most of some titles end in a year in brackets."""
    found = [bool(_YEAR_AT_END.search(title)) for title in titles if isinstance(title, str)]
    return bool(found) and sum(found) > MIN_SHARE * len(found)


def _article_first(name: str) -> str:
    """The name with its article first; a name without a trailing article is unchanged."""
    moved = move_article_to_front(name)
    return moved if "," in name and moved.count(",") < name.count(",") else name
