"""Links written titles to catalog items, or to none.

Teachers and people write "Matrix, The (1999)", "Se7en", "Dr. Strangelove", or a title that is not
in the catalog. A wrong link is worse than a missing one, because it credits an item that was not
named. A title is therefore linked only if every word is accounted for:

1. Names (the title, its alternatives in brackets or after "a.k.a.", aliases in the catalog) are
   compared as written, then as plain words, then without their article, then without spaces.
2. The catalog's subtitle, the text's series name, or an ending such as "The Movie" may be missing
   on the other side if both years are known and equal, but not if it has a number: sequels stay
   distinct, and "Alien: Covenant" is not "Alien". The part after a series name must have four words
   or be what the name abbreviates ("AVP: Alien vs. Predator"), because two films of one year may
   share a short title.
3. The remaining titles are compared by rapidfuzz with items at most one year apart. Words may
   differ by a spelling variant but not by a plural, and numbers must be equal. "The Big Short" and
   "The Big Sick" differ by a word.

Years may be YEAR_TOLERANCE apart. The nearest year wins, then the earlier one. Penalties add up: an
alternative name, an extra article or a title of one word (many films share it) leave less room for
a difference in years. A difference of two years is too much if the text has the earlier year
(people write the year of a later release, rarely one before the film was made) or an additional
name. If the text has no year, the better match of words wins, then the earliest item of that title:
in Reddit-v2's ground truth, the first film of a title is meant more often (14 of 24) than the last.

Remarks in brackets after a title are accounted for in `convrec.titles.versions`.

A link reports its runner-up, the next best other item that was considered. It may be an item that a
rule rejected (other years, other numbers, an unmatched word); such an item scores below 80 and a
link never does. docs/concepts/linking.md has the figures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from rapidfuzz import fuzz, process

from convrec.titles.candidate import Candidate
from convrec.titles.catalog_facts import CatalogFacts
from convrec.titles.index import YEAR_TOLERANCE
from convrec.titles.line_format import format_line
from convrec.titles.normalize import plain_words, split_bare_year
from convrec.titles.parse import parse_title
from convrec.titles.remarks import Remark
from convrec.titles.spelling import is_spelling_variant
from convrec.titles.variants import MatchMethod, TitleVariant, differs_by_article, title_variants
from convrec.titles.versions import VersionQuery, tell_apart

FUZZY_CUTOFF = 85.0
"""Names whose plain words have at least this rapidfuzz ratio are compared word by word."""

DEFAULT_NOUN = "movie"
"""What an item is unless `domain.noun` says otherwise."""

_MAX_CELLS = 4_000_000
"""Comparisons held in memory at once."""

_PARALLEL_CELLS = 1_000_000
"""Comparisons from which rapidfuzz uses all cores."""

_YEAR_PENALTY, _UNKNOWN_YEAR_PENALTY, _ONE_WORD_PENALTY, _FAR_YEAR_PENALTY = 2, 3, 1, 1
_MAX_PENALTY = 4


class Link(NamedTuple):
    """A linked catalog item with its score (80 to 100), and the next best other item.

    `runner_up` is "Title (year)". It and its score are None if no other item was considered. `note`
    says what a remark in brackets leaves open.
    """

    item_id: str
    title: str
    year: int | None
    score: float
    method: MatchMethod
    runner_up: str | None = None
    runner_up_score: float | None = None
    note: str = ""


class _Query(NamedTuple):
    """A title to find: its year, its variants, its names as plain words, and its remarks.

    `title` is the first name.
    """

    year: int | None
    variants: list[TitleVariant]
    plain_names: list[str]
    title: str
    remarks: tuple[Remark, ...]


class Linker:
    """Links written titles to the items of one catalog. The constructor indexes the catalog."""

    def __init__(self, catalog: pl.DataFrame, noun: str = DEFAULT_NOUN) -> None:
        """`catalog` has the columns item_id, title, year and optionally aliases, genres and text.

        `noun` is what an item is, as in `domain.noun`: "(novel)" is no version of a movie.
        """
        self._items: list[tuple[str, str, int | None]] = []
        self._index: dict[str, list[tuple[TitleVariant, int]]] = defaultdict(list)
        self._names: list[tuple[str, int]] = []
        self._by_year: dict[int | None, list[int]] = defaultdict(list)
        self._by_letter: dict[str, list[int]] = defaultdict(list)
        self._items += catalog.select("item_id", "title", "year").iter_rows()
        aliases = catalog["aliases"].to_list() if "aliases" in catalog.columns else []
        remarks: dict[int, tuple[Remark, ...]] = {}
        for position, (_, title, year) in enumerate(self._items):
            names, _, written = parse_title(title)
            if written and (telling := tuple(r for r in written if r.tells)):
                remarks[position] = telling
            if aliases and aliases[position]:
                names = (*names, *aliases[position])
            variants, plain_names = title_variants(names, is_query=False)
            for variant in variants:
                self._index[variant.key].append((variant, position))
            for name in plain_names:
                if len(name) > 1:
                    self._by_year[year].append(len(self._names))
                    self._by_letter[name[0]].append(len(self._names))
                    self._names.append((name, position))
        self._facts = CatalogFacts(catalog, remarks, noun)

    def link(self, text: str, year: int | None = None) -> Link | None:
        """The item that `text` names, or None. `year` overrides a year in the text."""
        return self.link_many([(text, year)])[0]

    def link_many(self, titles: Sequence[tuple[str, int | None]]) -> list[Link | None]:
        """Link (text, year) pairs, in order. Much faster than one call per title."""
        links: dict[tuple[str, int | None], Link | None] = {}
        unlinked: list[tuple[tuple[str, int | None], _Query, list[Candidate]]] = []
        for title in dict.fromkeys(titles):
            query = _parse_query(*title)
            candidates = list(self._shared_variants(query))
            links[title] = self._best_link(query, candidates)
            if links[title] is None:
                unlinked.append((title, query, candidates))
        similar = self._similar_names([query for _, query, _ in unlinked])
        for (title, query, candidates), more in zip(unlinked, similar, strict=True):
            link = self._best_link(query, candidates + more)
            links[title] = link or self._link_bare_year(*title)
        return [links[title] for title in titles]

    def _best_link(self, query: _Query, candidates: Sequence[Candidate]) -> Link | None:
        best = min(candidates, default=None)
        if best is not None and not best.rejected and self._has_remarks(query, best, candidates):
            candidates = self._tell_apart(query, candidates)
            best = min(candidates)
        if best is None or best.rejected:
            return None
        link = Link(*self._items[best.position], best.score(), best.method, note=best.note)
        second = min((c for c in candidates if c.position != best.position), default=None)
        if second is None:
            return link
        _, title, year = self._items[second.position]
        return link._replace(runner_up=format_line(title, year), runner_up_score=second.score())

    def _has_remarks(self, query: _Query, best: Candidate, candidates: Sequence[Candidate]) -> bool:
        """Whether remarks can change the link; further names of a title of the same year cannot."""
        known = self._facts.remarks
        if known and any(candidate.position in known for candidate in candidates):
            return True
        is_dated = query.year is not None and query.year == best.year
        return any(not (is_dated and remark.is_name) for remark in query.remarks)

    def _tell_apart(self, query: _Query, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The candidates after the remarks in brackets are accounted for."""
        main = self._positions("".join(plain_words(query.title)))
        named = {
            remark: self._positions(*remark.keys(query.title)) | main & self._positions(remark.key)
            for remark in query.remarks
        }
        undated: list[Candidate] = []
        if query.year is not None and any(remark.chooses for remark in query.remarks):
            undated = list(self._shared_variants(query._replace(year=None)))
        version = VersionQuery(query.remarks, query.year, named, undated)
        return tell_apart(version, candidates, self._facts)

    def _positions(self, *keys: str) -> set[int]:
        return {position for key in keys for _, position in self._index.get(key, ())}

    def _shared_variants(self, query: _Query) -> Iterator[Candidate]:
        """The items that share a variant with the title, including rejected ones."""
        for variant in query.variants:
            for other, position in self._index.get(variant.key, ()):
                year = self._items[position][2]
                cost, method = variant.cost + other.cost, _match_method(variant, other)
                undated = query.year is None or year is None
                apart = 0 if query.year is None or year is None else abs(query.year - year)
                rejected = _is_other_work(variant, other, method, undated, apart)
                if apart and not rejected:
                    rejected = cost + _year_penalty(query, variant, year) > _MAX_PENALTY
                unknown = _UNKNOWN_YEAR_PENALTY if undated and query.year is not None else 0
                penalty = cost + unknown + _YEAR_PENALTY * apart
                yield Candidate(rejected, penalty, year or 0, position, method)

    def _link_bare_year(self, text: str, year: int | None) -> Link | None:
        title, bare = split_bare_year(text)
        if year is not None or not bare:
            return None
        query = _parse_query(title, bare)
        return self._best_link(query, list(self._shared_variants(query)))

    def _similar_names(self, queries: Sequence[_Query]) -> list[list[Candidate]]:
        """For each query, items with a similar name and at most one year apart.

        Without a year, only names with the same first letter are compared: `is_spelling_variant`
        rejects the others anyway.
        """
        groups: dict[tuple[int | None, str], list[tuple[int, str]]] = defaultdict(list)
        for number, query in enumerate(queries):
            for name in query.plain_names:
                if len(name) > 1:
                    letter = name[0] if query.year is None else ""
                    groups[query.year, letter].append((number, name))
        candidates: list[list[Candidate]] = [[] for _ in queries]
        for (year, letter), names in groups.items():
            choices = self._name_choices(year, letter)
            block = max(1, _MAX_CELLS // max(1, len(choices)))
            for start in range(0, len(names), block):
                compared = self._compare_names(names[start : start + block], choices, year)
                for number, candidate in compared:
                    candidates[number].append(candidate)
        return candidates

    def _name_choices(self, year: int | None, letter: str) -> list[int]:
        if year is None:
            return self._by_letter.get(letter, [])
        return [n for y in (year, year - 1, year + 1, None) for n in self._by_year.get(y, ())]

    def _compare_names(
        self, names: Sequence[tuple[int, str]], choices: Sequence[int], year: int | None
    ) -> Iterator[tuple[int, Candidate]]:
        if not choices or not names:
            return
        matrix: Any = process.cdist(
            [text for _, text in names],
            [self._names[n][0] for n in choices],
            scorer=fuzz.ratio,
            score_cutoff=FUZZY_CUTOFF,
            dtype=np.float32,
            workers=-1 if len(names) * len(choices) > _PARALLEL_CELLS else 1,
        )
        for row, column in zip(*np.nonzero(matrix), strict=True):
            number, text = names[row]
            name, position = self._names[choices[column]]
            item_year = self._items[position][2]
            years_known = year is not None and item_year is not None
            apart = 0 if year is None or item_year is None else abs(year - item_year)
            rejected = bool(apart and " " not in text) or not is_spelling_variant(
                text.split(), name.split(), years_known
            )
            penalty = 100.0 - float(matrix[row, column]) + apart
            yield number, Candidate(rejected, penalty, item_year or 0, position, "fuzzy")


def _parse_query(text: str, year: int | None) -> _Query:
    title = parse_title(text)
    variants, plain_names = title_variants(title.names, is_query=True)
    year = title.year if year is None else year
    return _Query(
        year, variants, plain_names, title.names[0] if title.remarks else "", title.remarks
    )


def _year_penalty(query: _Query, variant: TitleVariant, year: int | None) -> int:
    """The penalty for a match with an item of another year."""
    if query.year is None or year is None:
        return 0
    apart = abs(query.year - year)
    is_far = apart > 1 and (query.year < year or len(query.plain_names) > 1)
    one_word = _ONE_WORD_PENALTY if variant.size == 1 else 0
    return _YEAR_PENALTY * apart + one_word + (_FAR_YEAR_PENALTY if is_far else 0)


def _match_method(one: TitleVariant, other: TitleVariant) -> MatchMethod:
    """How two variants with the same key match: the loosest of their methods."""
    for method in ("subtitle", "alias"):
        if method in (one.method, other.method):
            return method
    return "exact" if one.method == other.method == "exact" else "normalized"


def _is_other_work(
    query: TitleVariant, item: TitleVariant, method: MatchMethod, undated: bool, apart: int
) -> bool:
    """Whether two variants with the same key name two works, whatever the penalty."""
    if apart > YEAR_TOLERANCE:
        return True
    if method == "subtitle":
        return undated or apart > 0 or query.method == item.method
    return undated and differs_by_article(query, item)
