"""Match each line of a list with the catalog, the seen titles and the ground truth.

Metrics and rewards share this definition. Positions are lines: a line that cannot be parsed, is not
in the catalog, repeats an earlier line or was already seen keeps its position and has relevance 0,
so it shifts no other line. The published code indexes its rewards by parsed titles instead;
`convrec.metrics.protocols.reference` reproduces that for comparison with published numbers.

`convrec.metrics.matcher` matches many lists at once, with the same result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from convrec.titles.index import YEAR_TOLERANCE, TitleIndex
from convrec.titles.line_format import DEFAULT_FORMAT, LineFormat, TitleYear
from convrec.titles.normalize import clean_title, exact_key

TitleAndYear = tuple[str, int | None]
"""A title and its year, None if unknown; a plain tuple or a `TitleYear`."""


def titles_and_years(items: Iterable[Mapping[str, Any]] | None) -> list[TitleAndYear]:
    """Convert {title, year} structs, as the warehouse and Arrow hold them; None is empty."""
    return [(item["title"], item["year"]) for item in items or ()]


class MatchedLine(NamedTuple):
    """One line of a list after matching.

    `item` is None if the line is empty or not well-formed, `item_id` is None outside the catalog,
    `truth` is the index of the ground truth that the line hits, or None.
    """

    item: TitleYear | None
    item_id: str | None
    repeat: bool
    seen: bool
    truth: int | None

    @property
    def status(self) -> str:
        """`hit`, `outside` (the catalog), `seen`, `repeat`, or empty for a miss."""
        if self.truth is not None:
            return "hit"
        if self.item_id is None:
            return "outside"
        return "seen" if self.seen else "repeat" if self.repeat else ""


def list_lines(text: str) -> list[str]:
    r"""Split a completion into lines at `\n`; each line is a rank, blank lines included.

    A newline at the very end starts no further line. An empty text has no line.
    """
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return lines


def match_lines(
    lines: Iterable[str],
    index: TitleIndex,
    seen: Sequence[TitleAndYear],
    ground_truth: Sequence[TitleAndYear],
    line_format: LineFormat = DEFAULT_FORMAT,
) -> list[MatchedLine]:
    """Match every line, in order.

    Two titles are the same if their `exact_key` is equal and their years are at most YEAR_TOLERANCE
    apart, or one has no year. A line is a repeat if an earlier line has the same catalog item or,
    outside the catalog, the same title and year. A ground truth is hit once: by the first line that
    names it, is in the catalog, unseen and no repeat. If several ground truths fit a line, it hits
    the one with the nearest year.
    """
    seen_keys = [(_key(title), year) for title, year in seen]
    open_truths = {i: (_key(title), year) for i, (title, year) in enumerate(ground_truth)}
    seen_titles = {key for key, _ in seen_keys}
    truth_titles = {key for key, _ in open_truths.values()}
    earlier: set[str | tuple[str, int | None]] = set()
    matched = []
    for line in lines:
        item, key = _parse(line, line_format)
        if item is None:
            matched.append(MatchedLine(None, None, False, False, None))
            continue
        item_id = index.find(item.title, item.year)
        identity = item_id if item_id is not None else (key, item.year)
        repeat = identity in earlier
        earlier.add(identity)
        is_seen = key in seen_titles and any(
            key == seen_key and year_gap(item.year, year) is not None
            for seen_key, year in seen_keys
        )
        truth = None
        if key in truth_titles and item_id is not None and not repeat and not is_seen:
            truth = _nearest_truth(key, item.year, open_truths)
            if truth is not None:
                del open_truths[truth]
        matched.append(MatchedLine(item, item_id, repeat, is_seen, truth))
    return matched


def year_gap(year: int | None, other: int | None) -> int | None:
    """Return how many years apart: 0 if a year is unknown, None beyond YEAR_TOLERANCE."""
    gap = 0 if year is None or other is None else abs(year - other)
    return gap if gap <= YEAR_TOLERANCE else None


_key = lru_cache(maxsize=1 << 16)(exact_key)


@lru_cache(maxsize=1 << 16)
def _parse(line: str, line_format: LineFormat) -> tuple[TitleYear | None, str]:
    item = line_format.parse(clean_title(line))
    return item, _key(item.title) if item else ""


def _nearest_truth(
    key: str, year: int | None, truths: Mapping[int, tuple[str, int | None]]
) -> int | None:
    candidates = [
        (gap, position)
        for position, (truth_key, truth_year) in truths.items()
        if key == truth_key and (gap := year_gap(year, truth_year)) is not None
    ]
    return min(candidates)[1] if candidates else None
