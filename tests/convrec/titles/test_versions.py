"""Remarks in brackets after a title tell its versions apart, or lower the score of the link."""

from __future__ import annotations

import polars as pl
import pytest

from convrec.titles.candidate import MIN_SCORE
from convrec.titles.linker import Link, Linker
from tests.support.catalogs import TitleAndYear, linker

THING, THING_LATER = ("Nosferatu", 1922), ("Nosferatu", 2024)
STAR = [("A Star Is Born", year) for year in (1937, 1954, 1976, 2018)]
FILMS: list[TitleAndYear] = [
    THING,
    THING_LATER,
    *STAR,
    ("The Mummy", 1932),
    ("The Mummy", 1999),
    ("Paddington", 2014),
    ("Paddington 2", 2017),
    ("Psycho", 1960),
    ("Battlestar Galactica", 1978),
    ("Hamlet", 1948),
    ("Hamlet", 1996),
    ("Hamlet 2", 2008),
    ("Kill Bill: Vol. 2", 2004),
    ("The Killing", 1956),
    ("Blade Runner", 1982),
]
FULL = linker(*FILMS)


def _year(text: str) -> int | None:
    link = FULL.link(text)
    return link.year if link else None


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("Nosferatu (remake)", 2024),
        ("Nosferatu [remake]", 2024),
        ("Nosferatu （remake）", 2024),
        ("Nosferatu (Remake!)", 2024),
        ("Nosferatu (the remake)", 2024),
        ("Nosferatu (re-make)", 2024),
        ("Nosferatu (reboot)", 2024),
        ("Nosferatu (new)", 2024),
        ("Nosferatu (the new one)", 2024),
        ("Nosferatu (newer version)", 2024),
        ("Nosferatu (modern reimagining)", 2024),
        ("Nosferatu (most recent)", 2024),
        ("Nosferatu (not the original)", 2024),
        ("Nosferatu (remake) (2023)", 2024),
        ("Nosferatu (2024 remake)", 2024),
        ("Nosferatu (remake, 2024)", 2024),
        ("Nosferatu (remake) 2024", 2024),
        ("Nosferatu (2nd one)", 2024),
        ("Nosferatu (the second version)", 2024),
        ("Nosferatu (2020s)", 2024),
        ("Nosferatu (original)", 1922),
        ("Nosferatu (the original)", 1922),
        ("Nosferatu (original version)", 1922),
        ("Nosferatu (old)", 1922),
        ("Nosferatu (classic)", 1922),
        ("Nosferatu (first one)", 1922),
        ("Nosferatu (not the remake)", 1922),
        ("Nosferatu (the 1922 original)", 1922),
        ("Nosferatu (silent film from 1922)", 1922),
        ("Nosferatu (1920s version)", 1922),
        ("Nosferatu (remake) (1922)", 1922),
        ("Mummy, The (remake)", 1999),
        ("The Mummy (90s version)", 1999),
        ("The Mummy (live action)", 1999),
        ("A Star Is Born (new)", 2018),
        ("A Star Is Born (remake)", 2018),
        ("A Star Is Born (original)", 1937),
        ("A Star Is Born (third one)", 1976),
        ("A Star Is Born (the 50s one)", 1954),
        ("Paddington (2nd one)", 2017),
        ("Paddington (first one)", 2014),
        ("Psycho (original)", 1960),
        ("Battlestar Galactica (TV series) (1978)", 1978),
        ("Kill Bill (Vol. 2)", 2004),
        ("Kill Bill (Vol. 2) (extended)", 2004),
    ],
)
def test_a_remark_chooses_among_works_of_one_title(text: str, year: int) -> None:
    assert _year(text) == year


@pytest.mark.parametrize(
    "text",
    [
        "Psycho (remake)",
        "Psycho (new)",
        "Psycho (reboot)",
        "Psycho (remake) (1961)",
        "Psycho (90s version)",
        "Psycho (2nd one)",
        "Psycho (not the original)",
        "Paddington (3rd one)",
        "Hamlet (2nd one)",  # the film of 1996, or "Hamlet 2"
        "A Star Is Born (the 80s one)",
        "Battlestar Galactica (TV series)",
        "Battlestar Galactica (TV show)",
        "Battlestar Galactica [TV]",
        "Battlestar Galactica (miniseries)",
        "Battlestar Galactica (2003 miniseries)",
        "Battlestar Galactica (TV Series 2004–2009)",
        "Battlestar Galactica (new TV series)",
        "Battlestar Galactica (Syfy series)",
        "Battlestar Galactica (the TV show from Syfy)",
        "The Killing (limited series)",
        "Psycho (novel)",
        "Psycho (book)",
        "Psycho (soundtrack)",
        "Blade Runner (video game)",
        "Blade Runner (comic book)",
        "Hamlet (play)",
        "Paddington (season 1)",
        "Paddington (S1)",
        "Paddington (S01E02)",
        "Paddington (serie)",
        "Paddington (série)",
        "Psycho (telenovela)",
        "Psycho (电视剧)",
        "Psycho (prequel)",
        "Psycho (spin-off)",
        "Psycho（リメイク）",
    ],
)
def test_a_remark_that_the_catalog_cannot_fulfil_links_nothing(text: str) -> None:
    assert _year(text) is None


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("Psycho (film)", 100),
        ("Psycho (movie)", 100),
        ("Psycho (película)", 100),
        ("Psycho（電影）", 100),
        ("Psycho (B&W)", 99),
        ("Psycho (TV movie)", 100),
        ("Psycho (1960 film)", 100),
        ("Psycho (Hitchcock) (1960)", 100),
        ("Blade Runner (director's cut) (1982)", 100),
        ("Blade Runner (director's cut)", 99),
        ("Blade Runner (Director\u2019s Cut)", 99),
        ("Blade Runner [The Final Cut]", 99),
        ("Blade Runner (25th anniversary edition)", 99),
        ("Blade Runner (extended)", 99),
        ("Blade Runner (unrated)", 99),
        ("Blade Runner (4K remastered)", 99),
        ("Blade Runner (IMAX)", 99),
        ("Blade Runner (3-D)", 99),
        ("Blade Runner (Blu-ray)", 99),
        ("Blade Runner (workprint cut)", 99),
        ("Psycho (US)", 97),
        ("Psycho (U.S. version)", 97),
        ("Psycho (Japanese)", 97),
        ("Psycho (Hitchcock)", 97),
        ("Psycho (the Hitchcock one)", 97),
        ("Psycho (with Anthony Perkins)", 97),
        ("Psycho (Netflix)", 97),
        ("Psycho (animated)", 97),
        ("Psycho (original)", 97),
        ("Nosferatu (remake)", 98),
        ("Nosferatu (original)", 99),
        ("Nosferatu (Murnau)", 90),
        ("Nosferatu (German)", 90),
        ("A Star Is Born (remake)", 90),
        ("A Star Is Born (new)", 98),
    ],
)
def test_the_score_and_the_note_say_what_the_catalog_does_not_tell(text: str, score: int) -> None:
    link = FULL.link(text)
    assert link is not None
    assert link.score == score
    assert bool(link.note) == (score < 100)


def test_the_note_names_the_remark() -> None:
    assert _note(FULL.link("Psycho (US)")) == 'the catalog does not tell "US"'
    assert _note(FULL.link("Psycho (original)")) == '"original": the only work of this title'
    assert _note(FULL.link("Nosferatu (remake)")) == '"remake": work 2 of 2 of this title'
    assert _note(FULL.link("Blade Runner (uncut)")) == 'an edition: "uncut"'
    assert _note(FULL.link("Psycho (US) (uncut)")).count(";") == 1
    assert _note(FULL.link("Psycho")) == ""


def test_a_rejected_version_is_the_runner_up() -> None:
    link = FULL.link("Nosferatu (remake)")
    assert link is not None
    assert link.runner_up == "Nosferatu (1922)"
    assert (link.runner_up_score or 0) < MIN_SCORE


REMARKED = linker(
    ("Ringu", 1998),
    ("Ringu (Remake)", 2002),
    ("Shōgun (TV series)", 2024),
    ("The Bridge (UK)", 2013),
    ("Watchmen (Director's Cut)", 2009),
    ("Dune (Part One)", 2021),
    ("Star Trek: The Original Series", 1966),
    ("Star Trek", 2009),
)


@pytest.mark.parametrize(
    ("text", "item", "score"),
    [
        ("Ringu (remake)", ("Ringu (Remake)", 2002), 100),
        ("Ringu (the new one)", ("Ringu (Remake)", 2002), 100),
        ("Ringu (Remake) (2002)", ("Ringu (Remake)", 2002), 100),
        ("Ringu (2002)", ("Ringu (Remake)", 2002), 100),
        ("Ringu", ("Ringu", 1998), 100),
        ("Ringu (original)", ("Ringu", 1998), 97),
        ("Shogun (TV Series)", ("Shōgun (TV series)", 2024), 98),
        ("Shogun (miniseries)", ("Shōgun (TV series)", 2024), 98),
        ("Shōgun", ("Shōgun (TV series)", 2024), 97),
        ("Shōgun (film)", None, 0),
        ("The Bridge (UK)", ("The Bridge (UK)", 2013), 100),
        ("The Bridge (British version)", ("The Bridge (UK)", 2013), 100),
        ("The Bridge (US)", None, 0),
        ("The Bridge (Danish)", None, 0),
        ("Watchmen", ("Watchmen (Director's Cut)", 2009), 100),
        ("Watchmen (director's cut)", ("Watchmen (Director's Cut)", 2009), 99),
        ("Dune (Part One)", ("Dune (Part One)", 2021), 100),
        ("Dune: Part 1", ("Dune (Part One)", 2021), 98),
        ("Star Trek (The Original Series)", ("Star Trek: The Original Series", 1966), 97),
        ("Star Trek", ("Star Trek", 2009), 100),
    ],
)
def test_a_remark_in_the_catalog(text: str, item: TitleAndYear | None, score: int) -> None:
    link = REMARKED.link(text)
    assert (link and (link.title, link.year)) == item
    assert not link or link.score == score


FACTS = Linker(
    pl.DataFrame(
        {
            "item_id": list("abcdefgh"),
            "title": ["Aladdin", "Aladdin", "Fargo", "Fargo", "Solaris", "Solaris", "Taxi", "Cujo"],
            "year": [1992, 2019, 1996, 2014, 1972, 2002, 1998, 1983],
            "genres": [["Animation"], ["Family"], ["Crime"], [], [], [], ["Comedy"], ["Horror"]],
            "text": [
                "",
                "",
                "Joel Coen",
                "Noah Hawley tvSeries",
                "Andrei Tarkovsky, a Soviet film",
                "Steven Soderbergh",
                "Gerard Pires",
                "based on a TV series",
            ],
        }
    )
)


@pytest.mark.parametrize(
    ("text", "item", "score"),
    [
        ("Aladdin (animated)", "a", 100),
        ("Aladdin (cartoon)", "a", 100),
        ("Aladdin (live action)", "b", 98),
        ("Aladdin (live-action remake)", "b", 98),
        ("Fargo (TV series)", "d", 100),
        ("Fargo (series)", "d", 100),
        ("Fargo (film)", "c", 100),
        ("Fargo (Coen)", "c", 100),
        ("Solaris (Tarkovsky)", "e", 100),
        ("Solaris (the Soderbergh one)", "f", 100),
        ("Solaris (Soviet version)", "e", 90),
        ("Taxi (animated)", "", 0),
        ("Cujo (TV series)", "", 0),
    ],
)
def test_genres_types_and_texts_of_the_catalog_tell(text: str, item: str, score: int) -> None:
    link = FACTS.link(text)
    assert (link.item_id if link else "") == item
    assert not link or link.score == score


@pytest.mark.parametrize(
    ("noun", "text", "linked"),
    [
        ("movie", "Dracula (novel)", False),
        ("book", "Dracula (novel)", True),
        ("book", "Dracula (book)", True),
        ("book", "Dracula (film)", False),
        ("TV show", "Dracula (TV series)", True),
        ("TV show", "Dracula (movie)", False),
        ("movie or TV show", "Dracula (TV series)", True),
        ("item", "Dracula (TV series)", True),
    ],
)
def test_the_noun_of_the_domain_is_the_usual_kind_of_work(
    noun: str, text: str, linked: bool
) -> None:
    catalog = pl.DataFrame({"item_id": ["1"], "title": ["Dracula"], "year": [1931]})
    assert (Linker(catalog, noun).link(text) is not None) == linked


def test_a_further_name_is_no_remark() -> None:
    catalog = linker(
        ("Seven Samurai", 1954),
        ("Star Wars: A New Hope", 1977),
        ("Star Trek Into Darkness", 2013),
        ("Thriller", 2018),
        ("Se7en", 1995),
    )
    titles = ["Seven Samurai (Shichinin no samurai)", "Star Trek (Into Darkness)"]
    titles += ["Star Wars (A New Hope)", "Se7en (Thriller)"]
    links = catalog.link_many([(title, None) for title in titles])
    assert [link and link.year for link in links] == [1954, 2013, 1977, 1995]
    assert [link and bool(link.note) for link in links] == [True, False, False, True]


def test_a_catalog_without_years_cannot_tell_versions() -> None:
    catalog = linker(("Psycho", None))
    assert catalog.link("Psycho (remake)") is None
    link = catalog.link("Psycho (original)")
    assert link is not None
    assert link.score == 97


def _note(link: Link | None) -> str:
    assert link is not None
    return link.note
