"""Renamed items of catalogs whose ids are derived from title and year."""

from __future__ import annotations

from typing import Any

import pytest

from convrec.artifacts.frames import artifact_frame
from convrec.catalog.diff import CatalogDiff, diff_catalogs
from convrec.titles.line_format import format_line

PLOT = "a detective hunts a careful thief in Los Angeles"


def item(title: str, year: int | None = 1995, text: str = "", *aliases: str) -> dict[str, Any]:
    ids = {"item_id": format_line(title, year), "title": title, "year": year}
    return {**ids, "aliases": list(aliases), "genres": [], "text": text}


def diff(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> CatalogDiff:
    return diff_catalogs(artifact_frame("catalog", old), artifact_frame("catalog", new))


def renames(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return diff(old, new).renamed.select("old_item_id", "item_id").rows()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (item("Heat"), item("Heat: Director's Cut")),
        (item("Heat: Director's Cut"), item("Heat")),
        (item("Leon", 1994), item("The Professional", 1994, "", "Léon")),
        (item("The Professional", 1994, "", "Léon"), item("Leon", 1994)),
        (item("Heat", 1995, PLOT), item("Thief and Detective", 1995, PLOT)),
        (item("Heat", 1995, PLOT), item("Heat", 1985, PLOT)),
        (item("The Sorcerer's Stone", 2001), item("The Sorcerers' Stones", 2001)),
    ],
)
def test_a_renamed_item_is_not_added_and_removed(old: dict[str, Any], new: dict[str, Any]) -> None:
    others = [item("Ronin", 1998, "spies and a case")]
    changes = diff([old, *others], [*others, new])
    assert changes.renamed.rows() == [
        (old["item_id"], old["title"], old["year"], new["item_id"], new["title"], new["year"])
    ]
    assert changes.added.is_empty()
    assert changes.removed.is_empty()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (item("Rocky"), item("Rocky II")),
        (item("Che: Part One"), item("Che: Part Two")),
        (item("It"), item("It Takes Two")),
        (item("Dune", 1984, PLOT), item("Dune", 2021, "another plot with as many words")),
        (item("Heat", 1995, "drama"), item("Casino", 1995, "drama")),
        (item("Heat", 1995, PLOT), item("Casino", 1996, PLOT)),
    ],
)
def test_another_work_is_no_rename(old: dict[str, Any], new: dict[str, Any]) -> None:
    changes = diff([old], [new])
    assert changes.renamed.is_empty()
    assert (changes.added.height, changes.removed.height) == (1, 1)


def test_ambiguous_pairs_are_no_rename() -> None:
    cuts = [item("Heat: Director's Cut"), item("Heat: Special Edition")]
    assert renames([item("Heat")], cuts) == []
    assert renames(cuts, [item("Heat")]) == []
    remaining = item("Ronin", 1995, PLOT)
    texts = [item("Thief and Detective", 1995, PLOT), remaining]
    assert renames([item("Heat", 1995, PLOT), remaining], texts) == []


def test_ids_from_the_file_are_never_paired() -> None:
    old, new = ({**item("Heat"), "item_id": "1"}, {**item("Heat: Director's Cut"), "item_id": "2"})
    assert renames([old], [new]) == []


def test_each_rename_is_found_in_the_order_of_the_new_catalog() -> None:
    old = [item("Heat", 1995, PLOT), item("Amelie", 2001), item("Alien", 1979)]
    new = [item("Alien: Director's Cut", 1979), item("Amélie", 2001), item("Thief", 1995, PLOT)]
    assert renames(old, new) == [
        ("Alien (1979)", "Alien: Director's Cut (1979)"),
        ("Amelie (2001)", "Amélie (2001)"),
        ("Heat (1995)", "Thief (1995)"),
    ]
