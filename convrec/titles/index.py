"""Catalog items by their titles: by the title as it stands, and by every other way to write it.

`TitleIndex` is the strict lookup that rewards and metrics use. `forms` lists the ways in which a
name may be written, each with what it costs to take it for the name. Two names are compared by the
forms that they share (convrec/titles/linker.py): no lookup reads the whole catalog.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from convrec.titles.normalize import ARTICLES, LONGEST, exact_key, is_number, words

YEAR_TOLERANCE = 2
"""Years by which a written year may be off, as in the published reward."""

Method = Literal["exact", "alias", "normalized", "subtitle", "fuzzy"]

_ALTERNATIVE, _PARTIAL = 1, 4
_TAILS = (("the", "movie"), ("the", "film"), ("movie",), ("3d",), ("1",))
_SHORT = 3
_NUMBERED = re.compile(
    r"(?:: | - )(?:episode|part|chapter|volume|vol\.?) "
    r"(?:\d{1,2}|[ivx]{1,5}|one|two|three|four|five|six|seven|eight|nine|ten)(?:: | - )(?=.*\w)",
    re.IGNORECASE,
)
_LAST_WORDS = frozenset(tail[-1] for tail in _TAILS)


class TitleIndex:
    """Exact lookup of (title, year) among catalog items, years within YEAR_TOLERANCE.

    Where several items share a title, the nearest year wins, the earlier one on a tie. A title
    without a year, or an item without one, matches on the title alone.
    """

    def __init__(self, items: Iterable[tuple[str, str, int | None]]) -> None:
        """`items` are (item_id, title, year)."""
        self._items: dict[str, list[tuple[int | None, str]]] = defaultdict(list)
        for item_id, title, year in items:
            self._items[exact_key(title)].append((year, item_id))

    def find(self, title: str, year: int | None) -> str | None:
        """The item id, or None where the catalog has no such item."""
        near = [
            (0 if year is None or own is None else abs(own - year), own or 0, item_id)
            for own, item_id in self._items.get(exact_key(title), ())
        ]
        best = min(near, default=None)
        return best[2] if best is not None and best[0] <= YEAR_TOLERANCE else None


class TitleVariant(NamedTuple):
    """One way to write a name: the lower the cost, the closer to what was written."""

    key: str
    cost: int
    method: Method
    size: int
    article: str


def title_variants(names: Iterable[str], asked: bool) -> tuple[list[TitleVariant], list[str]]:
    """All ways to write the names of a title, the first of which is the title itself.

    Beside them come the names as plain words, for the comparison by spelling. `asked` says that the
    title is one to find, not one of the catalog.
    """
    found: list[TitleVariant] = []
    plain: list[str] = []
    for number, name in enumerate(names):
        extra = _ALTERNATIVE if number else 0
        method: Method = "alias" if number else "normalized"
        exact = f"={exact_key(name)}"
        parts = words(name) if len(name) <= LONGEST else []
        bare = without_article(parts)
        text = " ".join(bare)
        size = len(bare) + (len(bare) > 1 and is_number(text))
        article = parts[0] if len(bare) < len(parts) else ""
        found.append(TitleVariant(exact, extra, method if number else "exact", size, article))
        if not parts:
            continue
        found.append(TitleVariant("".join(parts), extra + 1, method, size, article))
        if article:
            found.append(TitleVariant("".join(bare), extra + 2, method, size, article))
        if unnumbered := _unnumbered(name):
            found.append(TitleVariant(unnumbered, extra + 2, method, size, article))
        for part in _parts(name, bare, asked):
            found.append(TitleVariant("".join(part), extra + _PARTIAL, "subtitle", size, article))
        plain.append(text)
    return found, plain


def other_article(form: TitleVariant, other: TitleVariant) -> bool:
    """Whether only an article tells the names apart, and too little else holds them together.

    Without a year "Maze Runner" may stand for "The Maze Runner", but "The Suicide Squad" is not
    "Suicide Squad", and of one word nothing is taken away. A number counts as a word more.
    """
    return form.article != other.article and form.size < (3 if form.article else 2)


def without_article(found: list[str]) -> list[str]:
    """The words without the article that they begin with, unless nothing would be left."""
    return found[1:] if len(found) > 1 and found[0] in ARTICLES else found


def _unnumbered(name: str) -> str:
    """The key without an episode's number, where a name of its own follows; else empty."""
    rest = _NUMBERED.sub(": ", name, count=1) if ":" in name or " - " in name else name
    return "" if rest == name else "".join(without_article(words(rest)))


def _parts(name: str, bare: list[str], asked: bool) -> Iterator[list[str]]:
    """What may be left of a name; of one asked for neither the head alone nor a short tail."""
    for mark in (": ", " - "):
        if mark not in name:
            continue
        head, _, tail = name.partition(mark)
        first, rest = without_article(words(head)), without_article(words(tail))
        if first and not asked and not is_number(" ".join(rest)):
            yield first
        if len(rest) > (_SHORT if asked and not _initials(head, words(tail)) else 1):
            yield rest
    for ending in _TAILS if bare[-1] in _LAST_WORDS else ():
        if len(bare) > len(ending) and tuple(bare[-len(ending) :]) == ending:
            yield bare[: -len(ending)]


def _initials(head: str, tail: list[str]) -> bool:
    """Whether a head only abbreviates its tail, as in "AVP: Alien vs. Predator"."""
    return "".join(words(head)) == "".join(word[0] for word in tail)
