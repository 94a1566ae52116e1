"""Match many lists at once: the result of `convrec.metrics.relevance.match_lines` as arrays.

Each distinct line is parsed and looked up once, repeats are found by sorting, and only lines that
share a title with a seen item or a ground truth are compared one by one. A test checks that the
result equals `match_lines`, which is the definition.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from convrec.metrics import Bools, Ints
from convrec.metrics.relevance import TitleAndYear, list_lines, year_gap
from convrec.metrics.scored_lists import ListToScore
from convrec.titles.index import TitleIndex
from convrec.titles.line_format import DEFAULT_FORMAT, LineFormat
from convrec.titles.normalize import clean_title, exact_key

MISSING = -1
"""In place of a catalog row, title or year that a line does not have."""

_MAX_CACHED = 1 << 20
"""Distinct lines and titles in the cache; it is cleared beyond."""


@dataclass(frozen=True)
class Matches:
    """Properties of each line, (lists, width); a line that does not exist is False or MISSING.

    `dated` lines have a year, `item` is the catalog row, and `written` (lists,) counts all lines of
    a list, also those beyond the width.
    """

    present: Bools
    well_formed: Bools
    dated: Bools
    item: Ints
    repeat: Bools
    seen: Bools
    hit: Bools
    written: Ints


class _Lines(NamedTuple):
    """The lines of all lists, flattened; every array is (lines,).

    Lines of a list with the same `identity` are repeats; titles with the same `key` are the same
    title. `identity`, `key`, `year` and `item` can be MISSING.
    """

    list_index: Ints
    rank: Ints
    identity: Ints
    key: Ints
    year: Ints
    item: Ints
    well_formed: Bools


class Matcher:
    """Matches lists with one catalog. Parsed lines are cached across calls."""

    def __init__(
        self,
        index: TitleIndex,
        line_format: LineFormat = DEFAULT_FORMAT,
        item_ids: Sequence[str] = (),
    ) -> None:
        """`item_ids` in catalog order make `Matches.item` catalog rows; else it is any number."""
        self._index = index
        self._line_format = line_format
        self._rows = {item_id: row for row, item_id in enumerate(item_ids)}
        self._clear_cache()

    def match(self, lists: Sequence[ListToScore], width: int) -> Matches:
        """Match the first `width` lines of each list."""
        if len(self._codes) + len(self._key_of_title) > _MAX_CACHED:
            self._clear_cache()
        texts = [list_lines(one.completion) for one in lists]
        written = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
        lines = self._lines(texts, np.minimum(written, width))
        repeat = _find_repeats(lines)
        seen = self._find_seen(lists, lines)
        hit = self._find_hits(lists, lines, (lines.item != MISSING) & ~repeat & ~seen)

        def table(values: Bools) -> Bools:
            cells = np.zeros((len(lists), width), dtype=bool)
            cells[lines.list_index, lines.rank] = values
            return cells

        items = np.full((len(lists), width), MISSING, dtype=np.int64)
        items[lines.list_index, lines.rank] = lines.item
        return Matches(
            present=table(np.ones(len(lines.list_index), dtype=bool)),
            well_formed=table(lines.well_formed),
            dated=table(lines.year != MISSING),
            item=items,
            repeat=table(repeat),
            seen=table(seen),
            hit=table(hit),
            written=written,
        )

    # -- parsing lines -----------------------------------------------------------------------

    def _clear_cache(self) -> None:
        self._codes: dict[str, int] = {}
        self._keys: dict[str, int] = {}
        self._key_of_title: dict[str, int] = {}
        self._identities: dict[tuple[int, int], int] = {}
        # A row for each code: identity, key, year, item, whether well-formed.
        self._facts: list[tuple[int, int, int, int, int]] = []

    def _lines(self, texts: Sequence[Sequence[str]], lengths: Ints) -> _Lines:
        flat = [
            line for lines, length in zip(texts, lengths, strict=True) for line in lines[:length]
        ]
        list_index = np.repeat(np.arange(len(texts)), lengths)
        rank = np.arange(len(flat)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        codes = self._code_lines(flat)
        facts = np.array(self._facts, dtype=np.int64).reshape(-1, 5)[codes]
        identity, key, year, item, well_formed = facts.T
        return _Lines(list_index, rank, identity, key, year, item, well_formed == 1)

    def _code_lines(self, lines: list[str]) -> Ints:
        """Return the row of `_facts` of each line; parse the lines that are not cached."""
        codes = self._codes
        for line in set(lines).difference(codes):
            codes[line] = len(self._facts)
            self._facts.append(self._parse(line))
        return np.fromiter(map(codes.__getitem__, lines), dtype=np.int64, count=len(lines))

    def _parse(self, line: str) -> tuple[int, int, int, int, int]:
        parsed = self._line_format.parse(clean_title(line))
        if parsed is None:
            return MISSING, MISSING, MISSING, MISSING, 0
        key = self._key(parsed.title)
        year = MISSING if parsed.year is None else parsed.year
        item_id = self._index.find(parsed.title, parsed.year)
        item = MISSING if item_id is None else self._rows.setdefault(item_id, len(self._rows))
        same = (MISSING, item) if item_id is not None else (key, year)
        identity = self._identities.setdefault(same, len(self._identities))
        return identity, key, year, item, 1

    def _key(self, title: str) -> int:
        """The same number for all titles with one `exact_key`."""
        key = self._key_of_title.get(title)
        if key is None:
            key = self._keys.setdefault(exact_key(title), len(self._keys))
            self._key_of_title[title] = key
        return key

    # -- comparing with seen titles and ground truths ----------------------------------------

    def _find_seen(self, lists: Sequence[ListToScore], lines: _Lines) -> Bools:
        seen = np.zeros(len(lines.key), dtype=bool)
        for line, _, _ in self._same_titles([x.seen for x in lists], lines, lines.well_formed):
            seen[line] = True
        return seen

    def _find_hits(self, lists: Sequence[ListToScore], lines: _Lines, usable: Bools) -> Bools:
        """Each line, in order, takes the ground truth with the nearest year that is still open."""
        hit = np.zeros(len(lines.key), dtype=bool)
        taken: set[tuple[int, int]] = set()
        truths = [x.ground_truth for x in lists]
        for line, owner, found in self._same_titles(truths, lines, usable):
            free = [(gap, truth) for gap, truth in found if (owner, truth) not in taken]
            if free:
                taken.add((owner, min(free)[1]))
                hit[line] = True
        return hit

    def _same_titles(
        self, titles: Sequence[Sequence[TitleAndYear]], lines: _Lines, among: Bools
    ) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
        """For each line of `among` that names some of its list's `titles`, in order.

        Yields the line, its list, and (year gap, position in `titles`) of these titles.
        """
        candidates = np.flatnonzero(among & self._shares_title(titles, lines))
        for line, owner, key, line_year in zip(
            candidates.tolist(),
            lines.list_index[candidates].tolist(),
            lines.key[candidates].tolist(),
            lines.year[candidates].tolist(),
            strict=True,
        ):
            year = None if line_year == MISSING else line_year
            found = [
                (gap, position)
                for position, (title, other) in enumerate(titles[owner])
                if self._key_of_title[title] == key and (gap := year_gap(year, other)) is not None
            ]
            if found:
                yield line, owner, found

    def _shares_title(self, titles: Sequence[Sequence[TitleAndYear]], lines: _Lines) -> Bools:
        """(lines,) Whether the line's title is one of its list's `titles`, whatever the year."""
        counts = np.fromiter(map(len, titles), dtype=np.int64, count=len(titles))
        flat = [title for group in titles for title, _ in group]
        for title in set(flat).difference(self._key_of_title):
            self._key(title)
        keys = np.fromiter(
            map(self._key_of_title.__getitem__, flat), dtype=np.int64, count=len(flat)
        )
        size = len(self._keys) + 1
        wanted = np.repeat(np.arange(len(titles)), counts) * size + keys
        return np.isin(lines.list_index * size + lines.key, wanted)


def _find_repeats(lines: _Lines) -> Bools:
    """(lines,) Whether an earlier line of the same list has the same identity."""
    sort_key = lines.list_index * (int(lines.identity.max(initial=0)) + 2) + lines.identity + 1
    order = np.argsort(sort_key, kind="stable")
    repeat = np.zeros(len(order), dtype=bool)
    repeat[order[1:]] = sort_key[order[1:]] == sort_key[order[:-1]]
    return np.asarray(repeat & (lines.identity != MISSING))
