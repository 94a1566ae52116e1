from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from convrec.catalog.load import load_catalog
from convrec.titles.linker import Linker
from tests.support.catalogs import TitleAndYear, linker


@pytest.mark.parametrize(
    ("text", "item", "method"),
    [
        ("The Matrix (1999)", ("The Matrix", 1999), "exact"),
        ("the matrix", ("The Matrix", 1999), "exact"),
        ("Matrix, The (2000)", ("The Matrix", 1999), "exact"),
        ("Amelie", ("Amélie", 2001), "normalized"),
        ("Hate (Haine, La) (1995)", ("La haine", 1995), "alias"),
        ("Rocky 4 (1985)", ("Rocky IV", 1985), "normalized"),
        ("Love and Other Drugs", ("Love & Other Drugs", 2010), "normalized"),
        ("Heavy Weights (1995)", ("Heavyweights", 1995), "normalized"),
        ("Star Wars (1977)", ("Star Wars: A New Hope", 1977), "subtitle"),
        ("A New Hope (1977)", ("Star Wars: A New Hope", 1977), "subtitle"),
        ("CB4 - The Movie (1993)", ("CB4", 1993), "subtitle"),
        ("Tenebre (1982)", ("Tenebrae", 1982), "fuzzy"),
        ("The Matirx Reloaded", ("The Matrix Reloaded", 2003), "fuzzy"),
        ("Amélie 2001", ("Amélie", 2001), "exact"),
    ],
)
def test_titles_link_by_each_method(text: str, item: TitleAndYear, method: str) -> None:
    catalog = linker(
        ("The Matrix", 1999),
        ("The Matrix Reloaded", 2003),
        ("Amélie", 2001),
        ("La haine", 1995),
        ("Rocky IV", 1985),
        ("Love & Other Drugs", 2010),
        ("Heavyweights", 1995),
        ("Star Wars: A New Hope", 1977),
        ("CB4", 1993),
        ("Tenebrae", 1982),
    )
    link = catalog.link(text)
    assert link is not None
    assert (link.title, link.year) == item
    assert link.method == method
    assert 80 <= link.score <= 100


@pytest.mark.parametrize(
    ("text", "item"),
    [
        ("The Big Short", ("The Big Sick", 2017)),
        ("The Big Short (2015)", ("The Big Sick", 2017)),
        ("Rocky III", ("Rocky IV", 1985)),
        ("Rocky", ("Rocky IV", 1985)),
        ("Taken 2 (2012)", ("Taken 3", 2013)),
        ("Alien", ("Aliens", 1986)),
        ("[REC]² (2009)", ("[REC]", 2007)),
        ("The Hunger Games: Catching Fire (2013)", ("The Hunger Games", 2012)),
        ("Mad Max", ("Mad Max: Fury Road", 2015)),
        ("The Suicide Squad", ("Suicide Squad", 2016)),
        ("Burning", ("The Burning", 1981)),
        ("Scarface (1932)", ("Scarface", 1983)),
        ("The Order (2001)", ("The Order", 2003)),
        ("Julie & Julia", ("Julia and Julia", 1987)),
        ("Love and Basketball", ("Love and Baseball", 2021)),
        ("", ("The Big Sick", 2017)),
        ("???", ("The Big Sick", 2017)),
    ],
)
def test_other_titles_are_not_linked(text: str, item: TitleAndYear) -> None:
    assert linker(item).link(text) is None


def test_years_select_a_remake_no_year_the_first() -> None:
    dune = linker(("Dune", 2021), ("Dune", 1984))
    assert [link and link.year for link in dune.link_many([
        ("Dune (1984)", None), ("Dune", 2020), ("Dune", None), ("Dune", 2000),
    ])] == [1984, 2021, 1984, None]  # fmt: skip


def test_the_argument_overrides_the_year_in_the_text() -> None:
    link = linker(("Dune", 2021), ("Dune", 1984)).link("Dune (1984)", 2021)
    assert link is not None
    assert link.year == 2021


def test_undated_items_match_after_dated_ones() -> None:
    assert linker(("Hustlers", None)).link("Hustlers (2019)") is not None
    link = linker(("Hustlers", None), ("Hustlers", 2019)).link("Hustlers (2019)")
    assert link is not None
    assert link.year == 2019


def test_catalog_aliases_link() -> None:
    link = linker(("Dr. Mabuse", 1922), aliases={"Dr. Mabuse": ["The Gambler"]}).link("The Gambler")
    assert link is not None
    assert (link.title, link.method) == ("Dr. Mabuse", "alias")


def test_links_keep_the_order_and_repeats_of_titles() -> None:
    catalog = linker(("Heat", 1995), ("Ronin", 1998))
    links = catalog.link_many([("Ronin", None), ("Nothing", None), ("Heat", None), ("Ronin", None)])
    assert [link and link.title for link in links] == ["Ronin", None, "Heat", "Ronin"]


def test_an_empty_catalog_links_nothing() -> None:
    assert linker().link_many([("Heat", 1995), ("Heat", None)]) == [None, None]


def test_labeled_titles(shared: Path) -> None:
    """MovieLens spellings against the Reddit-Movie catalog, with the refusals."""
    folder = shared / "data" / "title_links"
    gold = pl.read_csv(folder / "title_links.csv")
    catalog = Linker(load_catalog(folder / "catalog.csv")[0])
    links = catalog.link_many([(query, None) for query in gold["query"]])
    pairs = list(zip(gold["item_id"], links, strict=True))
    right = sum(link is not None and link.item_id == item for item, link in pairs)
    linked = sum(link is not None for link in links)
    meant = gold["item_id"].count()
    assert right / linked >= 0.994
    assert right / meant >= 0.995
    assert not [link for item, link in pairs if item and link and link.item_id != item]
