"""Finds the items of two catalogs that are the same work under another title or year.

Only items with ids derived from title and year lose their id by a new title; an id from the file
stays. Three signs tell that a removed and an added item are one, the surest first. A pair counts
if neither of the two shares the sign with a third item.

1. The new title links to the old item, or the old title to the new item. This covers spellings,
   years close to each other, and a title that the other side keeps as an alias.
2. The text columns are equal, have at least MIN_TEXT_WORDS words, and no other item has them; and
   the year or the title is the same.
3. The years are equal, and the titles are similar: one is a part of the other ("Heat", "Heat:
   Director's Cut"), or their rapidfuzz ratio is at least FUZZY_CUTOFF. Numbers must be the same.

A title that comes back with a year far from the old one is no rename without equal texts: it can be
a remake.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import polars as pl
from rapidfuzz import fuzz, process

from convrec.titles.line_format import format_line
from convrec.titles.linker import FUZZY_CUTOFF, Linker
from convrec.titles.normalize import has_digit, plain_words

MIN_TEXT_WORDS = 5
"""Shorter texts, such as a genre, can be equal by chance."""

_SEPARATOR = re.compile(r"[:;/|()\[\]]| [-–—] ")

Pair = tuple[str, str]
"""The ids of a removed and an added item."""


class _Item(NamedTuple):
    item_id: str
    title: str
    year: int | None
    text: str
    words: tuple[str, ...]
    """The title as plain words."""

    @property
    def numbers(self) -> list[str]:
        return sorted(word for word in self.words if has_digit(word))


def find_renames(
    old: pl.DataFrame, new: pl.DataFrame, removed: pl.DataFrame, added: pl.DataFrame
) -> pl.DataFrame:
    """The renamed items among `removed` and `added`, which are rows of the catalogs `old`, `new`.

    Returns old_item_id, old_title, old_year, item_id, title, year, in the order of `added`.
    """
    gone, come = _with_derived_ids(removed), _with_derived_ids(added)
    new_to_old: dict[str, str] = {}
    for find in _signs(old, new):
        found = find(gone, come)
        new_to_old |= {new_id: old_id for old_id, new_id in _unambiguous(found)}
        gone = gone.filter(~pl.col("item_id").is_in(list(new_to_old.values())))
        come = come.filter(~pl.col("item_id").is_in(list(new_to_old)))
    pairs = pl.DataFrame(
        {"item_id": list(new_to_old), "old_item_id": list(new_to_old.values())},
        schema={"item_id": pl.String, "old_item_id": pl.String},
    )
    before = removed.select(pl.col("item_id", "title", "year").name.prefix("old_"))
    return (
        added.join(pairs, on="item_id", maintain_order="left")
        .join(before, on="old_item_id", maintain_order="left")
        .select("old_item_id", "old_title", "old_year", "item_id", "title", "year")
    )


def _signs(
    old: pl.DataFrame, new: pl.DataFrame
) -> Iterator[Callable[[pl.DataFrame, pl.DataFrame], Iterable[Pair]]]:
    repeated = {text for frame in (old, new) for text, n in Counter(frame["text"]).items() if n > 1}
    yield _linked_new_titles
    yield _linked_old_titles
    yield lambda gone, come: _equal_texts(gone, come, repeated)
    yield _similar_titles


def _unambiguous(pairs: Iterable[Pair]) -> list[Pair]:
    """The pairs whose items are in no other pair."""
    found = list(dict.fromkeys(pairs))
    old, new = (Counter(ids) for ids in zip(*found, strict=True)) if found else ({}, {})
    return [(a, b) for a, b in found if old[a] == new[b] == 1]


def _linked_new_titles(gone: pl.DataFrame, come: pl.DataFrame) -> Iterator[Pair]:
    """Links that no other item scores as well for."""
    links = Linker(gone).link_many(come.select("title", "year").rows())
    for link, new_id in zip(links, come["item_id"], strict=True):
        if link and link.score > (link.runner_up_score or 0.0):
            yield link.item_id, new_id


def _linked_old_titles(gone: pl.DataFrame, come: pl.DataFrame) -> Iterator[Pair]:
    return ((old_id, new_id) for new_id, old_id in _linked_new_titles(come, gone))


def _equal_texts(gone: pl.DataFrame, come: pl.DataFrame, repeated: set[str]) -> Iterator[Pair]:
    by_text = {item.text: item for item in _items(gone)}
    for new in _items(come):
        old = by_text.get(new.text)
        if old is None or new.text in repeated or len(new.text.split()) < MIN_TEXT_WORDS:
            continue
        if old.words == new.words or old.year == new.year:
            yield old.item_id, new.item_id


def _similar_titles(gone: pl.DataFrame, come: pl.DataFrame) -> Iterator[Pair]:
    old_by_year, new_by_year = (_by_year(frame) for frame in (gone, come))
    for year in old_by_year.keys() & new_by_year.keys():
        old, new = old_by_year[year], new_by_year[year]
        for a, b in (*_contained(old, new), *_alike(old, new)):
            if a.numbers == b.numbers:
                yield a.item_id, b.item_id


def _by_year(frame: pl.DataFrame) -> dict[int, list[_Item]]:
    items: dict[int, list[_Item]] = defaultdict(list)
    for item in _items(frame):
        if item.year is not None and item.words:
            items[item.year].append(item)
    return items


def _contained(old: list[_Item], new: list[_Item]) -> Iterator[tuple[_Item, _Item]]:
    """Pairs of which one title is a part of the other, between marks such as a colon."""
    for shorter, longer, is_swapped in ((old, new, False), (new, old, True)):
        by_words: dict[tuple[str, ...], list[_Item]] = defaultdict(list)
        for item in shorter:
            by_words[item.words].append(item)
        for item in longer:
            parts = {tuple(plain_words(part)) for part in _SEPARATOR.split(item.title)}
            for other in (other for part in parts for other in by_words.get(part, ())):
                yield (item, other) if is_swapped else (other, item)


def _alike(old: list[_Item], new: list[_Item]) -> Iterator[tuple[_Item, _Item]]:
    names = [" ".join(item.words) for item in new]
    for item in old:
        name = " ".join(item.words)
        found = process.extract(
            name, names, scorer=fuzz.ratio, score_cutoff=FUZZY_CUTOFF, limit=None
        )
        yield from ((item, new[position]) for _, _, position in found)


def _items(frame: pl.DataFrame) -> list[_Item]:
    rows = frame.select("item_id", "title", "year", "text").iter_rows()
    return [
        _Item(item_id, title, year, text or "", tuple(plain_words(title)))
        for item_id, title, year, text in rows
    ]


def _with_derived_ids(items: pl.DataFrame) -> pl.DataFrame:
    """The items whose id is "Title (year)" rather than an id from the file."""
    rows = items.select("item_id", "title", "year").iter_rows()
    return items.filter([item_id == format_line(title, year) for item_id, title, year in rows])
