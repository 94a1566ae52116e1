"""Many lists judged at once: what `convrec.metrics.relevance.match_lines` says, as arrays.

A line is read and looked up once, however often it is written; repeats are found by sorting. Only
lines that share a title with something seen or wanted are looked at one by one. Tests hold it equal
to `judge_lines`, which stays the definition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convrec.metrics.registry import ListToScore
from convrec.metrics.relevance import Titled, list_lines
from convrec.titles.index import YEAR_TOLERANCE, TitleIndex
from convrec.titles.line_format import TITLE_YEAR, LineFormat
from convrec.titles.normalize import exact_key

_MOST = 1 << 20
"""Different lines and titles that are remembered; past it all are forgotten."""

NONE = -1


@dataclass(frozen=True)
class Matches:
    """What is true of each line, (lists, width) each; a line that is not there is False or NONE.

    `item` is the row of a catalog item, `well_formed` that the line is of the form, `dated` that it
    carries a year. `written` (lists,) counts all lines of a list, those past the width too.
    """

    present: NDArray[np.bool_]
    well_formed: NDArray[np.bool_]
    dated: NDArray[np.bool_]
    item: NDArray[np.int64]
    repeat: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    hit: NDArray[np.bool_]
    written: NDArray[np.int64]


class Matcher:
    """Judges lists against one catalog."""

    def __init__(
        self, index: TitleIndex, form: LineFormat = TITLE_YEAR, item_ids: Sequence[str] = ()
    ) -> None:
        """`item_ids` in catalog order make `Verdicts.item` catalog rows; without, any numbers."""
        self._index = index
        self._form = form
        self._rows = {item_id: row for row, item_id in enumerate(item_ids)}
        self._forget()

    def judge(self, lists: Sequence[ListToScore], width: int) -> Matches:
        """Judge the first `width` lines of each list."""
        if len(self._codes) + len(self._key_of_title) > _MOST:
            self._forget()
        texts = [list_lines(asked.completion) for asked in lists]
        written = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
        lengths = np.minimum(written, width)
        flat = [line for lines in texts for line in lines[:width]]
        codes = self._read(flat)
        row = np.repeat(np.arange(len(lists)), lengths)
        rank = np.arange(len(flat)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        name, key, year, item, formed = np.array(self._facts, dtype=np.int64)[codes].T
        repeat = _repeats(row, name)
        seen = self._seen(lists, row, key, year, formed == 1)
        usable = (item != NONE) & ~repeat & ~seen
        hit = self._hits(lists, row, key, year, usable)

        def spread(values: NDArray[np.bool_]) -> NDArray[np.bool_]:
            table = np.zeros((len(lists), width), dtype=bool)
            table[row, rank] = values
            return table

        items = np.full((len(lists), width), NONE, dtype=np.int64)
        items[row, rank] = item
        return Matches(
            spread(np.ones(len(flat), dtype=bool)),
            spread(formed == 1),
            spread(year != NONE),
            items,
            spread(repeat),
            spread(seen),
            spread(hit),
            written,
        )

    # -- lines ---------------------------------------------------------------------------------

    def _forget(self) -> None:
        self._codes: dict[str, int] = {}
        self._keys: dict[str, int] = {}
        self._key_of_title: dict[str, int] = {}
        self._names: dict[tuple[int, int], int] = {}
        # name, key, year, item, whether it is of the form; the first row keeps the array 2-d
        self._facts: list[tuple[int, int, int, int, int]] = []

    def _read(self, lines: list[str]) -> NDArray[np.int64]:
        codes = self._codes
        for line in set(lines).difference(codes):
            codes[line] = len(self._facts)
            self._facts.append(self._fact(line))
        if not self._facts:
            self._facts.append((NONE,) * 4 + (0,))
            codes[""] = 0
        return np.fromiter(map(codes.__getitem__, lines), dtype=np.int64, count=len(lines))

    def _fact(self, line: str) -> tuple[int, int, int, int, int]:
        found = self._form.parse(line)
        if found is None:
            return NONE, NONE, NONE, NONE, 0
        key = self._key(found.title)
        year = NONE if found.year is None else found.year
        item_id = self._index.find(found.title, found.year)
        item = NONE if item_id is None else self._rows.setdefault(item_id, len(self._rows))
        same = (NONE, item) if item_id is not None else (key, year)
        name = self._names.setdefault(same, len(self._names))
        return name, key, year, item, 1

    def _key(self, title: str) -> int:
        """A number for all spellings of a title that count as the same."""
        known = self._key_of_title.get(title)
        if known is None:
            known = self._keys.setdefault(exact_key(title), len(self._keys))
            self._key_of_title[title] = known
        return known

    # -- what lines are held against -------------------------------------------------------------

    def _seen(
        self,
        lists: Sequence[ListToScore],
        row: NDArray[np.int64],
        key: NDArray[np.int64],
        year: NDArray[np.int64],
        formed: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        named = self._named([asked.seen for asked in lists], row, key, formed)
        seen = np.zeros(len(row), dtype=bool)
        for at in named:
            titles = lists[row[at]].seen
            seen[at] = any(
                self._key(title) == key[at] and _apart(int(year[at]), own) is not None
                for title, own in titles
            )
        return seen

    def _hits(
        self,
        lists: Sequence[ListToScore],
        row: NDArray[np.int64],
        key: NDArray[np.int64],
        year: NDArray[np.int64],
        usable: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        """Lines in order, each taking the nearest ground truth that is still open."""
        hit = np.zeros(len(row), dtype=bool)
        current, open_truths = NONE, dict[int, Titled]()
        for at in self._named([asked.ground_truth for asked in lists], row, key, usable):
            if row[at] != current:
                current = int(row[at])
                open_truths = dict(enumerate(lists[current].ground_truth))
            near = [
                (apart, position)
                for position, (title, own) in open_truths.items()
                if self._key(title) == key[at] and (apart := _apart(int(year[at]), own)) is not None
            ]
            if near:
                del open_truths[min(near)[1]]
                hit[at] = True
        return hit

    def _named(
        self,
        titles: Sequence[Sequence[Titled]],
        row: NDArray[np.int64],
        key: NDArray[np.int64],
        among: NDArray[np.bool_],
    ) -> NDArray[np.intp]:
        """The lines `among` all whose title is one of their list's `titles`, whatever the year."""
        counts = np.fromiter(map(len, titles), dtype=np.int64, count=len(titles))
        flat = [title for given in titles for title, _ in given]
        for title in set(flat).difference(self._key_of_title):
            self._key(title)
        keys = np.fromiter(
            map(self._key_of_title.__getitem__, flat), dtype=np.int64, count=len(flat)
        )
        size = len(self._keys) + 1
        wanted = np.repeat(np.arange(len(titles)), counts) * size + keys
        return np.flatnonzero(among & np.isin(row * size + key, wanted))


def _repeats(row: NDArray[np.int64], name: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether an earlier line of the same list has the same name; lines without one never."""
    whole = row * (int(name.max(initial=0)) + 2) + name + 1
    order = np.argsort(whole, kind="stable")
    repeat = np.zeros(len(row), dtype=bool)
    repeat[order[1:]] = whole[order[1:]] == whole[order[:-1]]
    return np.asarray(repeat & (name != NONE))


def _apart(year: int, other: int | None) -> int | None:
    """Years apart, 0 where one is missing; None beyond YEAR_TOLERANCE."""
    apart = 0 if year == NONE or other is None else abs(year - other)
    return apart if apart <= YEAR_TOLERANCE else None
