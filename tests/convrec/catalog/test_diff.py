from __future__ import annotations

from typing import Any

import polars as pl

from convrec.artifacts.frames import artifact_frame
from convrec.catalog.diff import diff_catalogs


def catalog(*rows: tuple[str, str, int | None, list[str]]) -> pl.DataFrame:
    items: list[dict[str, Any]] = [
        {"item_id": i, "title": t, "year": y, "aliases": [], "genres": g, "text": ""}
        for i, t, y, g in rows
    ]
    return artifact_frame("catalog", items)


def test_items_with_ids_in_the_file() -> None:
    old = catalog(("1", "Heat", 1995, []), ("2", "Ronin", 1998, []), ("3", "Dune", None, []))
    new = catalog(("1", "Heat", 1995, ["Crime"]), ("3", "Dune", 1984, []), ("4", "Ronin", 1998, []))
    diff = diff_catalogs(old, new)
    assert diff.changed.rows() == [("1", "Heat", 1995, ["genres"])]
    assert diff.renamed.rows() == [("3", "Dune", None, "3", "Dune", 1984)]
    assert diff.added["item_id"].to_list() == ["4"]
    assert diff.removed["item_id"].to_list() == ["2"]
    assert not diff.is_empty


def test_a_new_title_of_a_derived_id_is_a_rename() -> None:
    old = catalog(("Amelie (2001)", "Amelie", 2001, []), ("Heat (1995)", "Heat", 1995, []))
    new = catalog(("Amélie (2001)", "Amélie", 2001, []), ("Rocky II (1979)", "Rocky II", 1979, []))
    diff = diff_catalogs(old, new)
    assert diff.renamed.rows() == [
        ("Amelie (2001)", "Amelie", 2001, "Amélie (2001)", "Amélie", 2001)
    ]
    assert diff.added["title"].to_list() == ["Rocky II"]
    assert diff.removed["title"].to_list() == ["Heat"]


def test_no_change() -> None:
    items = catalog(("Heat (1995)", "Heat", 1995, ["Crime"]), ("Dune", "Dune", None, []))
    assert diff_catalogs(items, items).is_empty
