"""Which catalog item a written title means, or that it means none.

Teachers and people write "Matrix, The (1999)", "Se7en", "Dr. Strangelove" or a title that the
catalog does not have. A wrong link costs more than a missing one: it puts credit on an item that
nobody named. So a title is linked only where every word is accounted for:

1. Names (the title, its alternatives in brackets or after "a.k.a.", aliases of the catalog) are
   compared as written, then as plain words, then without their article, then squeezed together.
2. The catalog's subtitle, the text's series name, or a tail such as "The Movie", may be missing on
   the other side where both years are known and the same, and never where it carries a number:
   sequels stay apart, and "Alien: Covenant" is no "Alien".
3. What is left is compared by rapidfuzz within one year: words may differ by a spelling variant,
   numbers must be the same. "The Big Short" and "The Big Sick" differ by a word.

Years may be YEAR_TOLERANCE apart; the nearest wins, then the earlier. Doubts add up: an alternative
name, an article too many, a title of one word (many films share it) leave less room for the year.
Where the text has no year,
the better match of the words wins, then the earliest item of that title: in Reddit-v2's ground
truth the first film of a title is meant more often (14 of 24) than the last.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from convrec.catalog.index import YEAR_TOLERANCE
from convrec.catalog.spelling import same_words
from convrec.catalog.titles import (
    ARTICLES,
    Written,
    exact_key,
    is_number,
    read_title,
    split_bare_year,
    words,
)

if TYPE_CHECKING:
    import polars as pl

Method = Literal["exact", "alias", "normalized", "subtitle", "fuzzy"]

FUZZY_CUTOFF = 85.0
"""rapidfuzz ratio of plain words from which two names are looked at word by word."""

_BLOCK = 512
_ALTERNATIVE, _PARTIAL, _YEAR, _UNKNOWN_YEAR, _ONE_WORD, _MOST_DOUBT = 1, 4, 2, 3, 1, 4
_TAILS = (("the", "movie"), ("the", "film"), ("movie",), ("3d",), ("1",))


class Link(NamedTuple):
    """A catalog item, how it was found, and how sure that is (0–100)."""

    item_id: str
    title: str
    year: int | None
    score: float
    method: Method


class _Form(NamedTuple):
    """One way to write a name: the lower the cost, the closer to what was written."""

    key: str
    cost: int
    method: Method
    size: int
    article: str


class Linker:
    """Links written titles to the items of one catalog; build it once, it indexes the catalog."""

    def __init__(self, catalog: pl.DataFrame) -> None:
        """`catalog` has the columns item_id, title, year; aliases are used where there are any."""
        self._items: list[tuple[str, str, int | None]] = []
        self._index: dict[str, list[tuple[_Form, int]]] = defaultdict(list)
        self._names: list[tuple[str, int]] = []
        aliases = catalog["aliases"].to_list() if "aliases" in catalog.columns else []
        self._items += catalog.select("item_id", "title", "year").iter_rows()
        for position, (_, title, _) in enumerate(self._items):
            names = [*read_title(title).names, *((aliases[position] or []) if aliases else [])]
            for form in _forms(names, asked=False):
                self._index[form.key].append((form, position))
            plain = map(_plain, names)
            self._names += [(name, position) for name in plain if len(name) > 1]
        self._by_year: dict[int | None, list[int]] = defaultdict(list)
        for number, (_, position) in enumerate(self._names):
            self._by_year[self._items[position][2]].append(number)

    def link(self, text: str, year: int | None = None) -> Link | None:
        """The item that `text` means; a year in the text is read where `year` is not given."""
        return self.link_many([(text, year)])[0]

    def link_many(self, titles: Sequence[tuple[str, int | None]]) -> list[Link | None]:
        """Link (text, year) pairs at once, in order; far quicker than one by one."""
        links: dict[tuple[str, int | None], Link | None] = {}
        open_titles: list[tuple[tuple[str, int | None], Written]] = []
        for title in dict.fromkeys(titles):
            written = _read(*title)
            links[title] = self._look_up(written)
            if links[title] is None:
                open_titles.append((title, written))
        for (title, _), link in zip(
            open_titles, self._fuzzy([w for _, w in open_titles]), strict=True
        ):
            links[title] = link or self._bare_year(*title)
        return [links[title] for title in titles]

    def _look_up(self, written: Written) -> Link | None:
        best: tuple[int, int, int, Method] | None = None
        for form in _forms(written.names, asked=True):
            for other, position in self._index.get(form.key, ()):
                own = self._items[position][2]
                apart, method = _apart(written.year, own), _joint(form, other)
                if apart is None or method is None:
                    continue
                undated = written.year is None or own is None
                if undated and (method == "subtitle" or _other_article(form, other)):
                    continue
                cost = form.cost + other.cost + _YEAR * apart
                doubt = cost + (_ONE_WORD if form.size == 1 else 0)
                if apart and (method == "subtitle" or doubt > _MOST_DOUBT):
                    continue
                unsure = _UNKNOWN_YEAR if undated and written.year is not None else 0
                found = (cost + unsure, own or 0, position, method)
                best = found if best is None else min(best, found)
        if best is None:
            return None
        return Link(*self._items[best[2]], max(100.0 - best[0], 80.0), best[3])

    def _bare_year(self, text: str, year: int | None) -> Link | None:
        title, bare = split_bare_year(text)
        return self._look_up(_read(title, bare)) if year is None and bare else None

    def _fuzzy(self, titles: Sequence[Written]) -> list[Link | None]:
        """Nearest items by spelling: titles of one year against items at most one year apart."""
        groups: dict[int | None, list[tuple[int, str]]] = defaultdict(list)
        for number, written in enumerate(titles):
            for name in written.names:
                if len(plain := _plain(name)) > 1:
                    groups[written.year].append((number, plain))
        best: dict[int, tuple[float, Link]] = {}
        for year, queries in groups.items():
            choices = self._choices(year)
            for start in range(0, len(queries), _BLOCK):
                for number, score, position in self._near(
                    queries[start : start + _BLOCK], choices, year
                ):
                    if number not in best or score > best[number][0]:
                        link = Link(*self._items[position], round(score, 1), "fuzzy")
                        best[number] = (score, link)
        return [best[n][1] if n in best else None for n in range(len(titles))]

    def _choices(self, year: int | None) -> list[int]:
        if year is None:
            return list(range(len(self._names)))
        return [n for y in (year, year - 1, year + 1, None) for n in self._by_year.get(y, ())]

    def _near(
        self, queries: Sequence[tuple[int, str]], choices: Sequence[int], year: int | None
    ) -> Iterator[tuple[int, float, int]]:
        import numpy as np
        from rapidfuzz import fuzz, process

        if not choices:
            return
        matrix: Any = process.cdist(
            [text for _, text in queries],
            [self._names[n][0] for n in choices],
            scorer=fuzz.ratio,
            score_cutoff=FUZZY_CUTOFF,
            dtype=np.float32,
        )
        for row, column in zip(*np.nonzero(matrix), strict=True):
            number, text = queries[row]
            name, position = self._names[choices[column]]
            own = self._items[position][2]
            dated = year is not None and own is not None
            if same_words(text.split(), name.split(), dated):
                apart = _apart(year, own) or 0
                yield number, float(matrix[row, column]) - apart, position


def _read(text: str, year: int | None) -> Written:
    written = read_title(text)
    return written if year is None else written._replace(year=year)


def _forms(names: Iterable[str], asked: bool) -> list[_Form]:
    """All ways to write the names of a title, the first of which is the title itself."""
    forms: list[_Form] = []
    spellings: list[tuple[str, int, Method]]
    for number, name in enumerate(names):
        extra = _ALTERNATIVE if number else 0
        method: Method = "alias" if number else "normalized"
        found = words(name)
        bare = _without_article(found)
        size = len(bare) + (len(bare) > 1 and any(map(is_number, bare)))
        article = found[0] if bare != found else ""
        spellings = [(f"={exact_key(name)}", 0, method if number else "exact")]
        if found:
            spellings.append(("".join(found), 1, method))
        if article:
            spellings.append(("".join(bare), 2, method))
        spellings += [("".join(p), _PARTIAL, "subtitle") for p in _parts(name, bare, asked)]
        forms += [_Form(key, extra + cost, how, size, article) for key, cost, how in spellings]
    return forms


def _parts(name: str, bare: list[str], asked: bool) -> Iterator[list[str]]:
    """What may be left of a name; the head alone only of the catalog's, not of one asked for."""
    for mark in (": ", " - "):
        head, found, tail = name.partition(mark)
        if not found:
            continue
        first, rest = _without_article(words(head)), _without_article(words(tail))
        if first and not asked and not any(map(is_number, rest)):
            yield first
        if len(rest) > 1:
            yield rest
    for ending in _TAILS:
        if len(bare) > len(ending) and tuple(bare[-len(ending) :]) == ending:
            yield bare[: -len(ending)]


def _without_article(found: list[str]) -> list[str]:
    return found[1:] if len(found) > 1 and found[0] in ARTICLES else found


def _plain(name: str) -> str:
    return " ".join(_without_article(words(name)))


def _joint(one: _Form, other: _Form) -> Method | None:
    """How two equal forms match; None where both left something out."""
    methods = {one.method, other.method}
    if "subtitle" in methods:
        return None if one.method == other.method else "subtitle"
    if "alias" in methods:
        return "alias"
    return "exact" if methods == {"exact"} else "normalized"


def _other_article(form: _Form, other: _Form) -> bool:
    """Whether only an article tells the names apart, and too little else holds them together.

    Without a year "Maze Runner" may stand for "The Maze Runner", but "The Suicide Squad" is not
    "Suicide Squad", and of one word nothing is taken away. A number counts as a word more.
    """
    return form.article != other.article and form.size < (3 if form.article else 2)


def _apart(year: int | None, own: int | None) -> int | None:
    """Years between, 0 where one is unknown, None where they are too many."""
    apart = 0 if year is None or own is None else abs(year - own)
    return apart if apart <= YEAR_TOLERANCE else None
