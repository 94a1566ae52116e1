"""Small catalogs for tests."""

from __future__ import annotations

import polars as pl

from convrec.titles.linker import Linker

TitleAndYear = tuple[str, int | None]


def linker(*items: TitleAndYear, aliases: dict[str, list[str]] | None = None) -> Linker:
    """A linker over items given as (title, year), with item ids "title|year"."""
    rows = [
        {
            "item_id": f"{title}|{year}",
            "title": title,
            "year": year,
            "aliases": (aliases or {}).get(title, []),
        }
        for title, year in items
    ]
    schema = {"item_id": pl.String, "title": pl.String, "year": pl.Int32}
    return Linker(pl.DataFrame(rows, schema={**schema, "aliases": pl.List(pl.String)}))
