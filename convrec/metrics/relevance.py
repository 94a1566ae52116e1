"""What each line of a recommended list is worth: the one reading that metrics and rewards share.

Lines are positions. A line that cannot be read, names nothing in the catalog, repeats an earlier
line or names something already seen keeps its place and is worth 0, so it shifts no other line. The
published code indexes its rewards by parsed titles instead; `convrec.metrics.protocols.reference`
has that reading, for comparison with published numbers only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from convrec.titles.index import YEAR_TOLERANCE, TitleIndex
from convrec.titles.line_format import TITLE_YEAR, Item, LineFormat
from convrec.titles.normalize import exact_key

Titled = tuple[str, int | None]
"""A title and its year, None where it is not known."""


def titled(items: Iterable[Mapping[str, Any]] | None) -> list[Titled]:
    """Titles and years from structs, as the warehouse and Arrow hold them; none from None."""
    return [(item["title"], item["year"]) for item in items or ()]


class MatchedLine(NamedTuple):
    """One line of a list, and what is true of it.

    `item` is None for an empty line and for one that is not of the form, `item_id` None outside the
    catalog. `truth` is the position of the ground truth that the line earns, None where it earns
    none.
    """

    item: Item | None
    item_id: str | None
    repeat: bool
    seen: bool
    truth: int | None

    @property
    def mark(self) -> str:
        """What a page says of it: hit, outside (the catalog), seen, repeat, or nothing."""
        if self.truth is not None:
            return "hit"
        if self.item_id is None:
            return "outside"
        return "seen" if self.seen else "repeat" if self.repeat else ""


def list_lines(text: str) -> list[str]:
    r"""The lines of a completion as ranks count them: each ends at `\n`, blank ones included.

    A single newline at the very end opens no further line; empty text has no line.
    """
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return lines


def match_lines(
    lines: Iterable[str],
    index: TitleIndex,
    seen: Sequence[Titled],
    ground_truth: Sequence[Titled],
    form: LineFormat = TITLE_YEAR,
) -> list[MatchedLine]:
    """Judge every line in order, read as `form` writes lines.

    A title is the same where `exact_key` is equal and the years are within YEAR_TOLERANCE or one
    of them is missing. A line repeats where an earlier line named the same catalog item, or the
    same title and year outside the catalog. Each ground truth is earned once, by the first line
    that is in the catalog, unseen, no repeat, and names it; where several fit, the nearest year.
    """
    seen_keys = [(_key(title), year) for title, year in seen]
    open_truths = {i: (_key(title), year) for i, (title, year) in enumerate(ground_truth)}
    seen_titles, true_titles = {key for key, _ in seen_keys}, {k for k, _ in open_truths.values()}
    named: set[str | tuple[str, int | None]] = set()
    judged = []
    for line in lines:
        item, key = _read(line, form)
        if item is None:
            judged.append(MatchedLine(None, None, False, False, None))
            continue
        item_id = index.find(item.title, item.year)
        name = item_id if item_id is not None else (key, item.year)
        repeat = name in named
        named.add(name)
        is_seen = key in seen_titles and any(
            _distance(key, item.year, k, y) is not None for k, y in seen_keys
        )
        truth = None
        if key in true_titles and item_id is not None and not repeat and not is_seen:
            truth = _nearest(key, item.year, open_truths)
            if truth is not None:
                del open_truths[truth]
        judged.append(MatchedLine(item, item_id, repeat, is_seen, truth))
    return judged


_key = lru_cache(maxsize=1 << 16)(exact_key)


@lru_cache(maxsize=1 << 16)
def _read(line: str, form: LineFormat) -> tuple[Item | None, str]:
    item = form.parse(line)
    return item, _key(item.title) if item else ""


def _distance(key: str, year: int | None, other_key: str, other_year: int | None) -> int | None:
    """Years apart where both name the same title, else None; 0 where a year is missing."""
    if key != other_key:
        return None
    apart = 0 if year is None or other_year is None else abs(year - other_year)
    return apart if apart <= YEAR_TOLERANCE else None


def _nearest(key: str, year: int | None, truths: dict[int, tuple[str, int | None]]) -> int | None:
    near = [
        (apart, position)
        for position, (other_key, other_year) in truths.items()
        if (apart := _distance(key, year, other_key, other_year)) is not None
    ]
    return min(near)[1] if near else None
