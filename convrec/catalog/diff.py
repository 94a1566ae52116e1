"""The differences between two versions of a catalog, item by item."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from convrec.catalog.renames import find_renames

COMPARED_FIELDS = ("title", "year", "aliases", "genres", "text")


@dataclass(frozen=True)
class CatalogDiff:
    """Items that were added, removed, renamed, or changed in another field.

    `added` and `removed` have the columns of a catalog. `renamed` has old_item_id, old_title,
    old_year, item_id, title, year. `changed` has item_id, title, year and `fields`, the names of
    the fields that differ. An item is in at most one of the four.
    """

    added: pl.DataFrame
    removed: pl.DataFrame
    renamed: pl.DataFrame
    changed: pl.DataFrame

    @property
    def by_change(self) -> dict[str, pl.DataFrame]:
        """The four frames by name."""
        return dict(vars(self))

    @property
    def is_empty(self) -> bool:
        """Whether both versions have the same items."""
        return not any(frame.height for frame in self.by_change.values())


def diff_catalogs(old: pl.DataFrame, new: pl.DataFrame) -> CatalogDiff:
    """Compare two catalogs by item_id.

    If ids are derived from title and year, another title or year changes the id. Such an item
    counts as renamed where the two catalogs have enough to tell (see `convrec.catalog.renames`).
    """
    joined = old.join(new, on="item_id", suffix="_new", maintain_order="right")
    differs = [pl.col(name).ne_missing(pl.col(f"{name}_new")) for name in COMPARED_FIELDS]
    is_renamed = differs[0] | differs[1]
    removed = old.join(new, on="item_id", how="anti", maintain_order="left")
    added = new.join(old, on="item_id", how="anti", maintain_order="left")
    linked = find_renames(old, new, removed, added)
    renamed = joined.filter(is_renamed).select(
        pl.col("item_id", "title", "year").name.prefix("old_"),
        "item_id",
        title="title_new",
        year="year_new",
    )
    fields = pl.concat_list(
        [pl.when(d).then(pl.lit(n)) for n, d in zip(COMPARED_FIELDS, differs, strict=True)]
    )
    changed = joined.filter(~is_renamed & pl.any_horizontal(differs)).select(
        "item_id", "title", "year", fields.list.drop_nulls().alias("fields")
    )
    return CatalogDiff(
        added=added.filter(~pl.col("item_id").is_in(linked["item_id"].to_list())),
        removed=removed.filter(~pl.col("item_id").is_in(linked["old_item_id"].to_list())),
        renamed=pl.concat([renamed, linked]),
        changed=changed,
    )
