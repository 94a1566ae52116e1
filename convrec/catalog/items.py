"""Titles of conversations linked to catalog items, as columns of row numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convrec.titles.index import TitleIndex

if TYPE_CHECKING:
    from collections.abc import Collection

    import polars as pl


def of_splits(conversations: pl.DataFrame, splits: Collection[str] | None) -> pl.DataFrame:
    """The samples of `splits`, all where it is None."""
    if splits is None:
        return conversations
    return conversations.filter(conversations["split"].is_in(list(splits)))


def link_titles(samples: pl.DataFrame, column: str, catalog: pl.DataFrame) -> pl.DataFrame:
    """One row a title in `column` that the catalog has, with `item`; `column` itself goes."""
    return ItemLinker(catalog).link(samples, column)


class ItemLinker:
    """Links the titles of one catalog; `item` is the row number in that catalog."""

    def __init__(self, catalog: pl.DataFrame) -> None:
        self._index = TitleIndex(catalog.select("item_id", "title", "year").iter_rows())
        self._rows = catalog.select("item_id").with_row_index("item")

    def link(self, samples: pl.DataFrame, column: str) -> pl.DataFrame:
        """One row for each linked title, with `item`; the column itself is dropped."""
        import polars as pl

        rows = samples.explode(column).drop_nulls(column).unnest(column)
        titles = rows.select("title", "year").unique(maintain_order=True)
        found = [self._index.find(title, year) for title, year in titles.iter_rows()]
        names = titles.with_columns(pl.Series("item_id", found, dtype=pl.String))
        return (
            rows.join(
                names.drop_nulls("item_id"),
                on=["title", "year"],
                nulls_equal=True,
                maintain_order="left",
            )
            .join(self._rows, on="item_id", maintain_order="left")
            .drop("title", "year", "item_id")
        )


def has_years(catalog: pl.DataFrame) -> bool:
    """Whether lists can carry years: where most items of the catalog have one."""
    return catalog["year"].count() * 2 > catalog.height
