"""Guesses which column holds what, from its name and its values."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any

from convrec.catalog.listed_titles import have_years
from convrec.catalog.years import parse_year
from convrec.config.sections.data import ConversationColumn
from convrec.operations.own_data.peek import Peek
from convrec.stages.ingest.splits import SPLIT_NAMES
from convrec.stages.ingest.table import TableReader, seconds_since_1970
from convrec.titles.line_format import parse_line
from convrec.titles.normalize import clean_title, exact_key

CONVERSATION_NAMES: dict[ConversationColumn, str] = {
    "conversation": "conversation conversations messages dialogue dialog chat post text prompt "
    "body request query question message content",
    "ground_truth": "ground_truth groundtruth groundtruth_with_release_year liked likes truth "
    "target targets label labels chosen accepted bought purchased picked picks answer answers gold "
    "relevant",
    "seen": "seen seen_titles mentioned named owned owns history known already played watched",
    "list": "list completion shown recommendations recommended",
    "id": "id sample_id conversation_id dialogue_id post_id uuid",
    "date": "date day created created_at created_utc timestamp time posted posted_at when",
    "split": "split subset partition",
}
"""Names of columns for each role, the most certain first."""

CATALOG_NAMES: dict[str, str] = {
    "title": "title name item game book movie film song album track recipe product",
    "year": "year release_year year_published yearpublished published released publication_year",
    "item_id": "item_id id asin isbn sku bggid key",
    "aliases": "aliases alias other_names other_titles alternative_titles",
    "genres": "genres genre categories category tags subjects styles mechanics",
}

SEPARATORS = (";", "|", "\n", ",")
"""Separators of titles in a cell; of equally good ones, the first."""

MIN_SHARE = 0.3
"""A column holds items if this share of its titles is in the catalog."""

NEARLY_ALL = 0.8
"""Share of dates or splits in a column that holds them; some bad rows are expected."""

_DISTINCT = 0.95
"""Share of different values in a column of ids."""

_EARLIEST = 1e8
"""Smaller numbers, such as minutes, are no dates."""

_NOUNS = ("game", "book", "movie", "film", "song", "album", "recipe", "product")


def guess_conversation_columns(
    peek: Peek, catalog: Collection[str], given: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Role → column; `given` are the columns that the user named. Roles without one are left out.

    `catalog` are the keys of the catalog's titles, as `title_keys` makes them.
    """
    fits: dict[str, Callable[[list[Any]], bool]] = {
        "conversation": _are_texts,
        "id": lambda cells: len(set(map(str, cells))) >= _DISTINCT * len(peek.rows),
        "date": _are_dates,
        "split": _are_splits,
    }
    found = dict(given or {})
    for role, names in CONVERSATION_NAMES.items():
        if role not in found:
            free = [column for column in peek.columns if column not in found.values()]
            usable = [c for c in free if _fits(fits.get(role), peek.cells(c))]
            if column := _by_name(usable, names.split()):
                found[role] = column
    free = [column for column in peek.columns if column not in found.values()]
    if "conversation" not in found and (texts := [c for c in free if _are_texts(peek.cells(c))]):
        found["conversation"] = max(texts, key=lambda c: sum(len(str(x)) for x in peek.cells(c)))
    if "ground_truth" not in found and (items := item_columns(peek, catalog, found.values())):
        # almost every row has an answer; other columns of items, such as owned ones, have gaps
        found["ground_truth"] = max(items, key=lambda c: items[c] * len(peek.cells(c)))
    return {role: found[role] for role in CONVERSATION_NAMES if role in found}


def item_columns(
    peek: Peek, catalog: Collection[str], used: Collection[str] = ()
) -> dict[str, float]:
    """The columns, without those `used`, that hold items of the catalog → share of known titles."""
    columns = [column for column in peek.columns if column not in used] if catalog else []
    shares = {column: share_in_catalog(peek.cells(column), catalog) for column in columns}
    return {column: share for column, share in shares.items() if share >= MIN_SHARE}


def guess_catalog_columns(peek: Peek) -> dict[str, str]:
    """convrec's name of a catalog column → the file's; those that are not there are left out."""
    found: dict[str, str] = {}
    for role, names in CATALOG_NAMES.items():
        free = [column for column in peek.columns if column not in found.values()]
        if role == "year":
            free = [c for c in free if _are_years(peek.cells(c))]
        if role == "item_id":
            free = [c for c in free if len(set(map(str, peek.cells(c)))) == len(peek.rows)]
        if column := _by_name(free, names.split()):
            found[role] = column
    return found


def has_years_in_titles(peek: Peek, title: str) -> bool:
    """Whether the titles of a catalog end in their year, as in `Catan (1995)`."""
    return have_years(peek.cells(title))


def guess_separator(cells: Iterable[Any], catalog: Collection[str]) -> str:
    """What separates the titles of a cell: with it, most of them are in the catalog."""
    texts = [cell for cell in cells if isinstance(cell, str) and not cell.lstrip().startswith("[")]

    def found(separator: str) -> int:
        parts = (part for text in texts for part in text.split(separator))
        if catalog:
            return len([part for part in parts if _key(part) in catalog])
        return len([text for text in texts if separator in text])

    return max(SEPARATORS, key=found) if any(map(found, SEPARATORS)) else SEPARATORS[0]


def share_in_catalog(cells: Iterable[Any], catalog: Collection[str]) -> float:
    """The share of the titles in some cells that the catalog has."""
    cells = list(cells)
    reader = TableReader({}, guess_separator(cells, catalog), "")
    keys = [_key(title) for cell in cells for title in reader.titles(cell)]
    return sum(key in catalog for key in keys) / len(keys) if keys else 0.0


def title_keys(titles: Iterable[Any]) -> frozenset[str]:
    """The keys under which titles are compared, without their years."""
    return frozenset(map(_key, titles)) - {""}


def guess_split_days(cells: Iterable[Any]) -> tuple[date, date] | None:
    """The first days of validation and test: the last fifth and the last tenth of the rows.

    None if there are too few different days for three splits.
    """
    days = [datetime.fromtimestamp(s, UTC).date() for s in sorted(_seconds(cells))]
    if not days:
        return None
    first, second = days[len(days) * 8 // 10], days[len(days) * 9 // 10]
    return (first, second) if days[0] < first < second else None


def guess_noun(title_column: str) -> str:
    """What the items are, if the column of titles says it."""
    words = _words(title_column)
    return next((noun for noun in _NOUNS if {noun, f"{noun}s"} & {*words}), "item")


def _key(title: Any) -> str:
    text = title.get("title") if isinstance(title, dict) else title
    text = text[0] if isinstance(text, list | tuple) and text else text
    parsed = parse_line(clean_title(str(text or "")))
    return exact_key(parsed.title) if parsed else ""


def _by_name(columns: list[str], names: list[str]) -> str:
    """The column with the first of some names, else one that has a name among its words."""
    plain = {"_".join(_words(column)): column for column in columns}
    if name := next((name for name in names if name in plain), None):
        return plain[name]
    words = {column: {*_words(column)} for column in columns}
    return next((c for name in names for c in columns if name in words[c]), "")


def _words(column: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", column).lower())


def _fits(check: Callable[[list[Any]], bool] | None, cells: list[Any]) -> bool:
    return bool(cells) and (check is None or check(cells))


def _are_texts(cells: list[Any]) -> bool:
    """Whether most cells are sentences or chat messages."""
    texts = [cell for cell in cells if isinstance(cell, str) and len(cell.split()) > 2]
    chats = [cell for cell in cells if isinstance(cell, list | dict) and "content" in str(cell)]
    return len(texts) + len(chats) > len(cells) / 2


def _are_splits(cells: list[Any]) -> bool:
    good = [cell for cell in cells if str(cell).strip().lower() in SPLIT_NAMES]
    return len(good) >= NEARLY_ALL * len(cells)


def _are_dates(cells: list[Any]) -> bool:
    return len([s for s in _seconds(cells) if s > _EARLIEST]) >= NEARLY_ALL * len(cells)


def _seconds(cells: Iterable[Any]) -> list[float]:
    """The dates of the cells that have one, in seconds since 1970."""
    found = []
    for cell in cells:
        with suppress(ValueError, OverflowError):
            found.append(seconds_since_1970(cell))
    return found


def _are_years(cells: list[Any]) -> bool:
    good = [cell for cell in cells if parse_year(cell)[0]]
    return len(good) > len(cells) / 2
