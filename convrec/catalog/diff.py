"""What changed between two versions of a catalog, item by item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from convrec.titles.line_format import format_line

if TYPE_CHECKING:
    import polars as pl

FIELDS = ("title", "year", "aliases", "genres", "text")


@dataclass(frozen=True)
class CatalogDiff:
    """Items of the new catalog that are new, gone, named otherwise, or described otherwise.

    `added` and `removed` have the columns of a catalog. `renamed` has old_item_id, old_title,
    old_year, item_id, title, year. `changed` has item_id, title, year and `fields`, the names of
    the fields that differ. An item stands in one of the four.
    """

    added: pl.DataFrame
    removed: pl.DataFrame
    renamed: pl.DataFrame
    changed: pl.DataFrame

    @property
    def frames(self) -> dict[str, pl.DataFrame]:
        """The four by name."""
        return {
            "added": self.added,
            "removed": self.removed,
            "renamed": self.renamed,
            "changed": self.changed,
        }

    @property
    def empty(self) -> bool:
        """Whether both versions hold the same items."""
        return not any(frame.height for frame in self.frames.values())


def diff_catalogs(old: pl.DataFrame, new: pl.DataFrame) -> CatalogDiff:
    """Compare two catalogs by item_id.

    Where the id is only the title and year, a corrected spelling or year makes a new id: such an
    item counts as renamed where the added title links to exactly one of those that are gone.
    """
    import polars as pl

    joined = old.join(new, on="item_id", how="inner", suffix="_new", maintain_order="right")
    differs = [pl.col(name).ne_missing(pl.col(f"{name}_new")) for name in FIELDS]
    named = differs[0] | differs[1]
    removed = old.join(new, on="item_id", how="anti", maintain_order="left")
    added = new.join(old, on="item_id", how="anti", maintain_order="left")
    pairs = _renamed(removed, added)
    renamed = joined.filter(named).select(
        pl.col("item_id").alias("old_item_id"),
        pl.col("title").alias("old_title"),
        pl.col("year").alias("old_year"),
        "item_id",
        pl.col("title_new").alias("title"),
        pl.col("year_new").alias("year"),
    )
    fields = pl.concat_list(
        [pl.when(d).then(pl.lit(n)) for n, d in zip(FIELDS, differs, strict=True)]
    )
    changed = joined.filter(~named & pl.any_horizontal(differs)).select(
        "item_id", "title", "year", fields.list.drop_nulls().alias("fields")
    )
    return CatalogDiff(
        added=added.filter(~pl.col("item_id").is_in(pairs["item_id"].to_list())),
        removed=removed.filter(~pl.col("item_id").is_in(pairs["old_item_id"].to_list())),
        renamed=pl.concat([renamed, pairs]),
        changed=changed,
    )


def _renamed(removed: pl.DataFrame, added: pl.DataFrame) -> pl.DataFrame:
    """Removed and added items with derived ids that are one item under two names."""
    import polars as pl

    from convrec.titles.linker import Linker

    before, after = _derived(removed), _derived(added)
    names = list(after.select("title", "year").iter_rows())
    links = Linker(before).link_many(names)
    taken = [link.item_id for link in links if link is not None]
    known = {row[0]: row for row in before.select("item_id", "title", "year").iter_rows()}
    rows = [
        (*known[link.item_id], *row)
        for row, link in zip(
            after.select("item_id", "title", "year").iter_rows(), links, strict=True
        )
        if link is not None and taken.count(link.item_id) == 1
    ]
    schema = {
        "old_item_id": pl.String,
        "old_title": pl.String,
        "old_year": pl.Int32,
        "item_id": pl.String,
        "title": pl.String,
        "year": pl.Int32,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _derived(items: pl.DataFrame) -> pl.DataFrame:
    """The items whose id is their line in a list, not one of its own."""
    rows = items.select("item_id", "title", "year").iter_rows()
    return items.filter([item_id == format_line(title, year) for item_id, title, year in rows])
