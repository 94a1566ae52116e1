"""Which catalog item a written title means, or that it means none.

Teachers and people write "Matrix, The (1999)", "Se7en", "Dr. Strangelove" or a title that the
catalog does not have. A wrong link costs more than a missing one: it puts credit on an item that
nobody named. So a title is linked only where every word is accounted for:

1. Names (the title, its alternatives in brackets or after "a.k.a.", aliases of the catalog) are
   compared as written, then as plain words, then without their article, then squeezed together.
2. The catalog's subtitle, the text's series name, or a tail such as "The Movie", may be missing on
   the other side where both years are known and the same, and never where it carries a number:
   sequels stay apart, and "Alien: Covenant" is no "Alien". What stands behind a series name must
   have four words or be what the name abbreviates ("AVP: Alien vs. Predator"): two films of one
   year may share a short title.
3. What is left is compared by rapidfuzz within one year: words may differ by a spelling variant,
   not by a plural, and numbers must be the same. "The Big Short" and "The Big Sick" differ by a
   word.

Years may be YEAR_TOLERANCE apart; the nearest wins, then the earlier. Doubts add up: an alternative
name, an article too many, a title of one word (many films share it) leave less room for the year.
Two years are too many where the text gives the earlier one (people write the year of a later
release, seldom one before the film was made) or a further name. Where the text has no year, the
better match of the words wins, then the earliest item of that title: in Reddit-v2's ground truth
the first film of a title is meant more often (14 of 24) than the last.

A link names its runner-up: the next best other item that was looked at on the way. An item that a
rule refused (other years, other numbers, a word unaccounted for) may be one; it scores below 80, as
no link does. docs/linking.md has the figures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from convrec.titles.index import YEAR_TOLERANCE, Method, TitleVariant, other_article, title_variants
from convrec.titles.line_format import format_line
from convrec.titles.normalize import Written, read_title, split_bare_year
from convrec.titles.spelling import same_words

if TYPE_CHECKING:
    import polars as pl

FUZZY_CUTOFF = 85.0
"""rapidfuzz ratio of plain words from which two names are looked at word by word."""

LEAST_SCORE = 80.0
"""No link scores less, and no item that a rule refused as much."""

_CELLS, _MANY_CELLS = 4_000_000, 1_000_000
_YEAR, _UNKNOWN_YEAR, _ONE_WORD, _FAR, _MOST_DOUBT = 2, 3, 1, 1, 4


class Link(NamedTuple):
    """A catalog item, how it was found, how sure that is (0–100), and the next best other item.

    `runner_up` is "Title (year)", with its score; None where no other item came near.
    """

    item_id: str
    title: str
    year: int | None
    score: float
    method: Method
    runner_up: str | None = None
    runner_up_score: float | None = None


class _Seen(NamedTuple):
    """An item that was looked at, and what it lacks to a score of 100; the least is the best."""

    refused: bool
    lost: float
    year: int
    position: int
    method: Method

    def score(self) -> float:
        score = round(100.0 - self.lost, 1)
        if self.refused:
            return min(max(score, 0.0), LEAST_SCORE - 1)
        return max(score, LEAST_SCORE)


class _Query(NamedTuple):
    """A title to find: its year, its forms, and its names as plain words."""

    year: int | None
    forms: list[TitleVariant]
    plain: list[str]


class Linker:
    """Links written titles to the items of one catalog; build it once, it indexes the catalog."""

    def __init__(self, catalog: pl.DataFrame) -> None:
        """`catalog` has the columns item_id, title, year; aliases are used where there are any."""
        self._items: list[tuple[str, str, int | None]] = []
        self._index: dict[str, list[tuple[TitleVariant, int]]] = defaultdict(list)
        self._names: list[tuple[str, int]] = []
        self._by_year: dict[int | None, list[int]] = defaultdict(list)
        self._by_letter: dict[str, list[int]] = defaultdict(list)
        self._items += catalog.select("item_id", "title", "year").iter_rows()
        aliases = catalog["aliases"].to_list() if "aliases" in catalog.columns else []
        for position, (_, title, year) in enumerate(self._items):
            names = read_title(title).names
            if aliases and aliases[position]:
                names = (*names, *aliases[position])
            found, plain = title_variants(names, asked=False)
            for form in found:
                self._index[form.key].append((form, position))
            for name in plain:
                if len(name) > 1:
                    self._by_year[year].append(len(self._names))
                    self._by_letter[name[0]].append(len(self._names))
                    self._names.append((name, position))

    def link(self, text: str, year: int | None = None) -> Link | None:
        """The item that `text` means; a year in the text is read where `year` is not given."""
        return self.link_many([(text, year)])[0]

    def link_many(self, titles: Sequence[tuple[str, int | None]]) -> list[Link | None]:
        """Link (text, year) pairs at once, in order; far quicker than one by one."""
        links: dict[tuple[str, int | None], Link | None] = {}
        open_titles: list[tuple[tuple[str, int | None], _Query, list[_Seen]]] = []
        for title in dict.fromkeys(titles):
            asked = _query(*title)
            seen = list(self._look_up(asked))
            links[title] = self._best(seen)
            if links[title] is None:
                open_titles.append((title, asked, seen))
        near = self._fuzzy([asked for _, asked, _ in open_titles])
        for (title, _, seen), more in zip(open_titles, near, strict=True):
            links[title] = self._best(seen + more) or self._bare_year(*title)
        return [links[title] for title in titles]

    def _best(self, seen: Sequence[_Seen]) -> Link | None:
        best = min(seen, default=None)
        if best is None or best.refused:
            return None
        link = Link(*self._items[best.position], best.score(), best.method)
        second = min((s for s in seen if s.position != best.position), default=None)
        if second is None:
            return link
        _, title, year = self._items[second.position]
        return link._replace(runner_up=format_line(title, year), runner_up_score=second.score())

    def _look_up(self, asked: _Query) -> Iterator[_Seen]:
        """The items that share a form with the title, refused ones too."""
        for form in asked.forms:
            for other, position in self._index.get(form.key, ()):
                own = self._items[position][2]
                cost, method = form.cost + other.cost, _joint(form, other)
                undated = asked.year is None or own is None
                apart = 0 if asked.year is None or own is None else abs(asked.year - own)
                refused = _refused(form, other, method, undated, apart)
                if apart and not refused:
                    refused = cost + _year_doubt(asked, form, own) > _MOST_DOUBT
                unsure = _UNKNOWN_YEAR if undated and asked.year is not None else 0
                yield _Seen(refused, cost + unsure + _YEAR * apart, own or 0, position, method)

    def _bare_year(self, text: str, year: int | None) -> Link | None:
        title, bare = split_bare_year(text)
        return (
            self._best(list(self._look_up(_query(title, bare)))) if year is None and bare else None
        )

    def _fuzzy(self, titles: Sequence[_Query]) -> list[list[_Seen]]:
        """Items of like spelling, at most one year apart; without a year, of the same first letter.

        `same_words` takes no other first letter anyway, so this only saves time.
        """
        groups: dict[tuple[int | None, str], list[tuple[int, str]]] = defaultdict(list)
        for number, asked in enumerate(titles):
            for name in asked.plain:
                if len(name) > 1:
                    letter = name[0] if asked.year is None else ""
                    groups[asked.year, letter].append((number, name))
        seen: list[list[_Seen]] = [[] for _ in titles]
        for (year, letter), queries in groups.items():
            choices = self._choices(year, letter)
            block = max(1, _CELLS // max(1, len(choices)))
            for start in range(0, len(queries), block):
                for number, near in self._near(queries[start : start + block], choices, year):
                    seen[number].append(near)
        return seen

    def _choices(self, year: int | None, letter: str) -> list[int]:
        if year is None:
            return self._by_letter.get(letter, [])
        return [n for y in (year, year - 1, year + 1, None) for n in self._by_year.get(y, ())]

    def _near(
        self, queries: Sequence[tuple[int, str]], choices: Sequence[int], year: int | None
    ) -> Iterator[tuple[int, _Seen]]:
        import numpy as np
        from rapidfuzz import fuzz, process

        if not choices or not queries:
            return
        matrix: Any = process.cdist(
            [text for _, text in queries],
            [self._names[n][0] for n in choices],
            scorer=fuzz.ratio,
            score_cutoff=FUZZY_CUTOFF,
            dtype=np.float32,
            workers=-1 if len(queries) * len(choices) > _MANY_CELLS else 1,
        )
        for row, column in zip(*np.nonzero(matrix), strict=True):
            number, text = queries[row]
            name, position = self._names[choices[column]]
            own = self._items[position][2]
            apart = 0 if year is None or own is None else abs(year - own)
            dated = year is not None and own is not None
            refused = bool(apart and " " not in text) or not same_words(
                text.split(), name.split(), dated
            )
            lost = 100.0 - float(matrix[row, column]) + apart
            yield number, _Seen(refused, lost, own or 0, position, "fuzzy")


def _query(text: str, year: int | None) -> _Query:
    written: Written = read_title(text)
    return _Query(
        written.year if year is None else year, *title_variants(written.names, asked=True)
    )


def _year_doubt(asked: _Query, form: TitleVariant, own: int | None) -> int:
    """What other years add to the doubt of a match; the module says why."""
    if asked.year is None or own is None:
        return 0
    apart = abs(asked.year - own)
    far = apart > 1 and (asked.year < own or len(asked.plain) > 1)
    return _YEAR * apart + (_ONE_WORD if form.size == 1 else 0) + (_FAR if far else 0)


def _joint(one: TitleVariant, other: TitleVariant) -> Method:
    """How two equal forms match: by what was left out, by an alternative, as written, or nearly."""
    for method in ("subtitle", "alias"):
        if method in (one.method, other.method):
            return method
    return "exact" if one.method == other.method == "exact" else "normalized"


def _refused(
    form: TitleVariant, other: TitleVariant, method: Method, undated: bool, apart: int
) -> bool:
    """Whether two equal forms are of two works, however near the years."""
    if apart > YEAR_TOLERANCE:
        return True
    if method == "subtitle":
        return undated or apart > 0 or form.method == other.method
    return undated and other_article(form, other)
