"""Which catalog item a written title is, where it is written as the catalog writes it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from convrec.catalog.titles import exact_key

YEAR_TOLERANCE = 2
"""Years by which a written year may be off, as in the published reward."""


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
