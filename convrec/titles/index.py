"""Exact lookup of catalog items by title and year, as rewards and metrics use it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from convrec.titles.normalize import exact_key

YEAR_TOLERANCE = 2
"""Years by which a written year may differ from the item's, as in the published reward."""


class TitleIndex:
    """Finds catalog items by exact title, with years within YEAR_TOLERANCE.

    If several items share a title, the nearest year wins, and the earlier year on a tie. A title
    without a year, or an item without one, matches on the title alone.
    """

    def __init__(self, items: Iterable[tuple[str, str, int | None]]) -> None:
        """`items` are (item_id, title, year)."""
        self._items: dict[str, list[tuple[int | None, str]]] = defaultdict(list)
        for item_id, title, year in items:
            self._items[exact_key(title)].append((year, item_id))

    def find(self, title: str, year: int | None) -> str | None:
        """The id of the matching item, or None."""
        matches = [
            (0 if year is None or known is None else abs(known - year), known or 0, item_id)
            for known, item_id in self._items.get(exact_key(title), ())
        ]
        best = min(matches, default=None)
        return best[2] if best is not None and best[0] <= YEAR_TOLERANCE else None

    def find_all(self, title: str, year: int | None) -> list[str]:
        """The ids of all items that the title may mean, in the order of the items."""
        return [
            item_id
            for known, item_id in self._items.get(exact_key(title), ())
            if year is None or known is None or abs(known - year) <= YEAR_TOLERANCE
        ]
