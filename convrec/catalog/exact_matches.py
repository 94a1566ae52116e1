"""Titles in conversations matched to catalog items by title or alias, as columns of row numbers."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from convrec.titles.aliases import AliasIndex
from convrec.titles.index import TitleIndex


class ItemLinker:
    """Matches titles to the items of one catalog; an item is its row number in that catalog."""

    def __init__(self, catalog: pl.DataFrame) -> None:
        """`catalog` has item_id, title, year, and aliases if there are any."""
        self._index = TitleIndex(catalog.select("item_id", "title", "year").iter_rows())
        self._aliases = AliasIndex(catalog)
        self._rows = catalog.select("item_id").with_row_index("item")

    def link(self, samples: pl.DataFrame, column: str, *, to_all: bool = False) -> pl.DataFrame:
        """One row per matched title of the list column `column`, which becomes `item`.

        With `to_all`, a title has a row for each item that it may mean (`TitleIndex.find_all`).
        """
        rows = samples.explode(column).drop_nulls(column).unnest(column)
        titles = rows.select("title", "year").unique(maintain_order=True)
        find = self._find_all if to_all else self._find_one
        ids = [find(title, year) for title, year in titles.iter_rows()]
        linked = titles.with_columns(pl.Series("item_id", ids, dtype=pl.List(pl.String)))
        return (
            rows.join(
                linked.explode("item_id").drop_nulls("item_id"),
                on=["title", "year"],
                nulls_equal=True,
                maintain_order="left",
            )
            .join(self._rows, on="item_id", maintain_order="left")
            .drop("title", "year", "item_id")
        )

    def _find_one(self, title: str, year: int | None) -> list[str]:
        found = self._index.find(title, year) or self._aliases.find(title, year)
        return [] if found is None else [found]

    def _find_all(self, title: str, year: int | None) -> list[str]:
        return self._index.find_all(title, year) or self._find_one(title, year)


def filter_splits(conversations: pl.DataFrame, splits: Collection[str] | None) -> pl.DataFrame:
    """The samples of `splits`; None means all."""
    return conversations if splits is None else conversations.filter(pl.col("split").is_in(splits))


def has_years(catalog: pl.DataFrame) -> bool:
    """Whether most items of the catalog have a year, so that lists can have years."""
    return catalog["year"].count() * 2 > catalog.height
