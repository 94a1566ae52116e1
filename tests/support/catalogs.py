"""Small catalogs for tests."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from convrec.config import ROOT
from convrec.titles.linker import Linker

TitleAndYear = tuple[str, int | None]

DEMO_LINES = (ROOT / "catalog" / "demo.csv").read_text(encoding="utf-8").splitlines()


def write_lines(path: Path, lines: list[str]) -> Path:
    """Write a CSV file of these lines."""
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_edited_catalog(path: Path) -> Path:
    """Write the demo's catalog with one item removed, added and renamed, and one broken year."""
    lines = [DEMO_LINES[0], *DEMO_LINES[2:]]
    title = lines[5].partition(",")[0]
    lines[5] = lines[5].replace(title, f"{title} (Restored)", 1)
    return write_lines(path, [*lines, "Anatomy of a Fall,2023,Drama,,,,,", "Odd,19,,,,,,"])


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
