from __future__ import annotations

import polars as pl

from convrec.catalog.exact_matches import ItemLinker
from convrec.titles.aliases import AliasIndex, with_catalog_titles

CATALOG = pl.DataFrame(
    {
        "item_id": ["heat", "alien", "aliens", "big"],
        "title": ["Heat: Director's Cut", "Alien", "Aliens", "Big"],
        "year": [1995, 1979, 1986, 1988],
        "aliases": [["Heat", "Fuego"], ["Star Beast", "Big"], ["Star Beast"], []],
    }
)
TITLES = [("Heat", 1995), ("FUEGO", None), ("Heat", 1972), ("Star Beast", None), ("Big", 1988)]


def conversations(titles: list[tuple[str, int | None]]) -> pl.DataFrame:
    structs = [{"title": title, "year": year} for title, year in titles]
    dtype = pl.List(pl.Struct({"title": pl.String, "year": pl.Int32}))
    return pl.DataFrame(
        {"sample_id": ["a", "b"], "ground_truth": [structs, []], "seen": [None, structs[:1]]},
        schema_overrides={"ground_truth": dtype, "seen": dtype},
    )


def test_an_alias_names_its_item_if_no_title_and_no_other_alias_does() -> None:
    index = AliasIndex(CATALOG)
    assert [index.find(*title) for title in TITLES] == ["heat", "heat", None, None, None]
    assert index.find_title("star beast", 1986) == ("Aliens", 1986)


def test_conversations_get_the_titles_of_the_catalog() -> None:
    given = conversations(TITLES)
    renamed = with_catalog_titles(given, CATALOG)
    assert renamed.schema == given.schema
    heat = {"title": "Heat: Director's Cut", "year": 1995}
    unchanged = given["ground_truth"][0].to_list()[2:]
    assert renamed["ground_truth"].to_list() == [[heat, heat, *unchanged], []]
    assert renamed["seen"].to_list() == [None, [heat]]
    assert with_catalog_titles(given, CATALOG.drop("aliases")) is given


def test_ground_truth_and_seen_titles_link_through_aliases() -> None:
    linker, samples = ItemLinker(CATALOG), conversations(TITLES)
    rows = linker.link(samples.select("sample_id", "ground_truth"), "ground_truth")
    assert rows["item"].to_list() == [0, 0, 3]
    seen = linker.link(samples.select("sample_id", "seen"), "seen", to_all=True)
    assert seen.rows() == [("b", 0)]
