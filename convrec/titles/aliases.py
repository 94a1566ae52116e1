"""Titles of conversations that the catalog has only as an alias, such as an item's old name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

import polars as pl

from convrec.titles.index import TitleIndex

TitleAndYear = tuple[str, int | None]

TITLE_COLUMNS = ("seen", "ground_truth")

_CACHED_TITLES = 1 << 16


class AliasIndex:
    """Finds items by their aliases.

    A title of the catalog is no alias, and an alias of several items with fitting years means none
    of them.
    """

    def __init__(self, catalog: pl.DataFrame) -> None:
        """`catalog` has item_id, title, year, and aliases if there are any."""
        self._names = {item: (title, year) for item, title, year in _names(catalog)}
        self._titles = TitleIndex(_names(catalog))
        self._aliases = TitleIndex(_aliases(catalog))
        self.is_empty = not any(True for _ in _aliases(catalog))
        self._cached_title = lru_cache(_CACHED_TITLES)(self.find_title)

    def find(self, title: str, year: int | None) -> str | None:
        """The id of the item that has this alias, or None."""
        if self.is_empty or self._titles.find(title, year) is not None:
            return None
        found = set(self._aliases.find_all(title, year))
        return found.pop() if len(found) == 1 else None

    def find_title(self, title: str, year: int | None) -> TitleAndYear | None:
        """The title and year of the item that has this alias, or None."""
        item = self.find(title, year)
        return None if item is None else self._names[item]

    def to_catalog_titles(self, titles: Iterable[TitleAndYear]) -> list[TitleAndYear]:
        """The titles, with those of the items in place of their aliases."""
        return [self._cached_title(*title) or title for title in titles]


def find_aliases(
    conversations: pl.DataFrame, catalog: pl.DataFrame
) -> dict[TitleAndYear, TitleAndYear]:
    """Each title and year of `conversations` that is an alias → those of its item.

    `conversations` has one or both of TITLE_COLUMNS.
    """
    index = AliasIndex(catalog)
    if index.is_empty:
        return {}
    titles: set[TitleAndYear] = set()
    for column in set(TITLE_COLUMNS) & set(conversations.columns):
        named = conversations.select(column).explode(column).drop_nulls().unnest(column).unique()
        titles.update(named.select("title", "year").iter_rows())
    resolved = {title: index.find_title(*title) for title in titles}
    return {title: item for title, item in resolved.items() if item is not None}


def with_catalog_titles(conversations: pl.DataFrame, catalog: pl.DataFrame) -> pl.DataFrame:
    """The conversations with the titles of items in place of their aliases."""
    renamed = find_aliases(conversations, catalog)
    if not renamed:
        return conversations
    return conversations.with_columns(
        pl.Series(
            column,
            [
                None
                if titles is None
                else [
                    dict(zip(("title", "year"), renamed[key], strict=True))
                    if (key := (title["title"], title["year"])) in renamed
                    else title
                    for title in titles
                ]
                for titles in conversations[column].to_list()
            ],
            dtype=conversations.schema[column],
        )
        for column in TITLE_COLUMNS
        if column in conversations.columns
    )


def _names(catalog: pl.DataFrame) -> Iterator[tuple[str, str, int | None]]:
    return catalog.select("item_id", "title", "year").iter_rows()


def _aliases(catalog: pl.DataFrame) -> Iterator[tuple[str, str, int | None]]:
    if "aliases" not in catalog.columns:
        return iter(())
    named = catalog.select("item_id", "aliases", "year").explode("aliases").drop_nulls("aliases")
    return named.iter_rows()
