"""The catalog of the items that the training ground truth names (`ingest.catalog_from`).

Titles are equal as in metrics (`exact_key`), with the spelling that is used most. A title without a
year means the one of that title with a year, if there is only one. Only distinct titles are in
memory, so its size does not depend on the number of conversations.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from convrec.artifacts.frames import artifact_frame
from convrec.errors import CatalogError
from convrec.titles.line_format import format_line
from convrec.titles.normalize import exact_key

_FACTS = ("item_id", "aliases", "genres", "text")

Figures = dict[str, float | int | str]


class GroundTruthCatalog(NamedTuple):
    """The items of the catalog, and which share of the training ground truth they cover."""

    items: pl.DataFrame
    figures: Figures


def ground_truth_catalog(
    conversations: pl.LazyFrame, min_count: int, facts: pl.DataFrame | None = None
) -> GroundTruthCatalog:
    """The items that the training ground truth names at least `min_count` times, by title and year.

    `facts` is a catalog with the item_id, aliases, genres and text of some of them. Raises
    CatalogError if no item is named so often.
    """
    named = _named_titles(conversations)
    kept = named.filter(pl.col("count") >= min_count).sort("title", "year")
    if kept.is_empty():
        most = int(named["count"].max() or 0)  # type: ignore[arg-type]
        raise CatalogError(
            f"the training ground truth names no item {min_count} times (the most frequent one "
            f"{most} times), so there is no catalog; lower ingest.catalog_min_count, or use "
            "ingest.catalog_from=file"
        )
    count, covered = int(named["count"].sum()), int(kept["count"].sum())
    figures: Figures = {
        "training ground truths": count,
        "training ground truths in the catalog": round(covered / count, 4),
    }
    if facts is None:
        facts = artifact_frame("catalog", [])
    else:
        figures["items in ingest.catalog"] = kept.join(
            _with_keys(facts), on=["key", "year"], how="semi", nulls_equal=True
        ).height
    return GroundTruthCatalog(_with_facts(kept, facts), figures)


def _named_titles(conversations: pl.LazyFrame) -> pl.DataFrame:
    """The distinct titles of the training ground truth: key, year, title, count."""
    spellings = (
        conversations.filter(pl.col("split") == "train")
        .select(pl.col("ground_truth").explode())
        .drop_nulls("ground_truth")
        .unnest("ground_truth")
        .group_by("title", "year")
        .agg(count=pl.len())
        .collect(engine="streaming")
    )
    spellings = _with_keys(spellings)
    dated = spellings.drop_nulls("year").group_by("key").agg(pl.col("year").unique())
    only = dated.filter(pl.col("year").list.len() == 1).select("key", only=pl.col("year").list[0])
    return (
        spellings.join(only, on="key", how="left")
        .with_columns(pl.coalesce("year", "only"))
        .sort("count", "title", descending=[True, False])
        .group_by("key", "year", maintain_order=True)
        .agg(pl.col("title").first(), pl.col("count").sum())
    )


def _with_keys(titles: pl.DataFrame) -> pl.DataFrame:
    keys = [exact_key(title) for title in titles["title"]]
    return titles.with_columns(pl.Series("key", keys, dtype=pl.String))


def _with_facts(named: pl.DataFrame, facts: pl.DataFrame) -> pl.DataFrame:
    """The named titles as catalog items, with the facts of the item of that title and year."""
    ids = [format_line(title, year) for title, year in named.select("title", "year").iter_rows()]
    items = named.with_columns(pl.Series("own_id", ids, dtype=pl.String)).join(
        _with_keys(facts).select("key", "year", *_FACTS),
        on=["key", "year"],
        how="left",
        nulls_equal=True,
        maintain_order="left",
    )
    return items.select(
        pl.coalesce("item_id", "own_id"),
        "title",
        "year",
        pl.col("aliases", "genres").fill_null([]),
        pl.col("text").fill_null(""),
    )
