"""Each linking rule with titles it accepts and rejects; the runner-up; arbitrary text."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from convrec.titles.candidate import MIN_SCORE
from convrec.titles.normalize import (
    MAX_TITLE_CHARACTERS,
    exact_key,
    plain_words,
    split_bare_year,
)
from convrec.titles.parse import parse_title
from tests.support.catalogs import TitleAndYear, linker

CATALOG: list[TitleAndYear] = [
    ("The Matrix", 1999),
    ("Seven Samurai", 1954),
    ("La haine", 1995),
    ("Rocky II", 1979),
    ("Rocky III", 1982),
    ("Ocean's Eleven", 2001),
    ("Schindler's List", 1993),
    ("Amélie", 2001),
    ("Fast & Furious", 2009),
    ("Star Wars: The Last Jedi", 2017),
    ("Alien vs. Predator", 2004),
    ("Dune", 1984),
    ("Dune", 2021),
    ("The Big Sick", 2017),
    ("A Star Is Born", 1937),
    ("A Star Is Born", 2018),
    ("Birdman or (The Unexpected Virtue of Ignorance)", 2014),
]
FULL = linker(*CATALOG)


@pytest.mark.parametrize(
    ("rule", "text", "item"),
    [
        ("alternative in brackets", "Hate (Haine, La) (1995)", ("La haine", 1995)),
        ("alternative in brackets", "Seven Samurai (Shichinin no samurai)", CATALOG[1]),
        ("a.k.a.", "Hatred (a.k.a. La haine) (1995)", ("La haine", 1995)),
        ("a.k.a.", "La haine aka Hate", ("La haine", 1995)),
        ("leading article", "Matrix (1999)", ("The Matrix", 1999)),
        ("leading article", "The Seven Samurai", ("Seven Samurai", 1954)),
        ("trailing article", "Matrix, The", ("The Matrix", 1999)),
        ("trailing article", "Haine, La (1995)", ("La haine", 1995)),
        ("accents", "Amelie (2001)", ("Amélie", 2001)),
        ("accents", "Ame\u0301lie", ("Amélie", 2001)),
        ("curly quotes", "Schindler\u2019s List", ("Schindler's List", 1993)),
        ("curly quotes", "\u201cSchindler\u2018s List\u201d", ("Schindler's List", 1993)),
        ("ampersand", "Fast and Furious", ("Fast & Furious", 2009)),
        ("roman and arabic", "Rocky 2", ("Rocky II", 1979)),
        ("roman and arabic", "Rocky Part 3 (1982)", ("Rocky III", 1982)),
        ("number words", "Ocean's 11", ("Ocean's Eleven", 2001)),
        ("subtitle", "The Last Jedi (2017)", ("Star Wars: The Last Jedi", 2017)),
        ("episode", "Star Wars: Episode VIII - The Last Jedi", CATALOG[9]),
        ("episode", "Star Wars - Part Eight: The Last Jedi (2017)", CATALOG[9]),
        ("series initials", "AVP: Alien vs. Predator (2004)", ("Alien vs. Predator", 2004)),
        ("year near", "Dune (2020)", ("Dune", 2021)),
        ("year in the text", "Dune 1984", ("Dune", 1984)),
        ("remake, no year", "Dune", ("Dune", 1984)),
        ("remake, no year", "Star Is Born, A", ("A Star Is Born", 1937)),
        ("remake, year", "A Star Is Born (2018)", ("A Star Is Born", 2018)),
        ("brackets in the catalog", "Birdman", CATALOG[16]),
        ("unseen marks", "\u202eThe \u200bMatrix\u200f (1999\u200e)", ("The Matrix", 1999)),
        ("null bytes", "The\x00 Matrix\x00", ("The Matrix", 1999)),
    ],
)
def test_a_rule_links(rule: str, text: str, item: TitleAndYear) -> None:
    link = FULL.link(text)
    assert link is not None, rule
    assert (link.title, link.year) == item


@pytest.mark.parametrize(
    ("rule", "text", "item"),
    [
        ("a word differs", "The Big Short", ("The Big Sick", 2017)),
        ("a word differs", "The Big Short (2017)", ("The Big Sick", 2017)),
        ("another number", "Rocky V", ("Rocky IV", 1985)),
        ("another number", "Ocean's Twelve", ("Ocean's Eleven", 2001)),
        ("a number too many", "Alien 3", ("Alien", 1979)),
        ("a plural", "Aliens (1980)", ("Alien", 1979)),
        ("a plural", "The Strangers", ("The Stranger", 1946)),
        ("a plural", "The Strangers (1947)", ("The Stranger", 1946)),
        ("a short title behind a name", "Batman: Public Enemies (2009)", ("Public Enemies", 2009)),
        ("subtitle without a year", "The Last Jedi", ("Star Wars: The Last Jedi", 2017)),
        ("subtitle of another year", "Star Wars (1977)", ("Star Wars: The Last Jedi", 2017)),
        ("another subtitle", "Star Wars: A New Hope (2017)", ("Star Wars: The Last Jedi", 2017)),
        ("another episode", "Saga: Episode II - The War", ("Saga: Episode III - The Peace", 2005)),
        ("years too far", "Dune (2000)", ("Dune", 1984)),
        ("two years too early", "Sky High (2003)", ("Sky High", 2005)),
        ("one word, two years", "Dune (2023)", ("Dune", 2021)),
        ("a further name, two years", "Cold Sun (Kalte Sonne) (2009)", ("Cold Sun", 2007)),
        ("only an article apart", "The Burning", ("Burning", 2018)),
        ("a word within", "Comedy", ("The King of Comedy", 1982)),
    ],
)
def test_a_rule_rejects(rule: str, text: str, item: TitleAndYear) -> None:
    assert linker(item).link(text) is None, rule


def test_two_words_allow_two_years_late() -> None:
    assert linker(("Cold Sun", 2007)).link("Cold Sun (2009)") is not None


def test_the_runner_up_is_the_next_best_other_item() -> None:
    link = FULL.link("Dune")
    assert link is not None
    assert (link.year, link.score) == (1984, 100.0)
    assert (link.runner_up, link.runner_up_score) == ("Dune (2021)", 100.0)


def test_a_rejected_runner_up_scores_below_every_link() -> None:
    link = linker(("Dune", 2021), ("Dune", 1984)).link("Dune (2021)")
    assert link is not None
    assert link.runner_up == "Dune (1984)"
    assert link.runner_up_score is not None
    assert 0 <= link.runner_up_score < MIN_SCORE <= link.score


def test_a_fuzzy_link_reports_the_rejected_item() -> None:
    link = linker(("The Matrix Reloaded", 2003), ("The Matrix Reloader", None)).link(
        "The Matirx Reloaded"
    )
    assert link is not None
    assert (link.title, link.method) == ("The Matrix Reloaded", "fuzzy")
    assert link.runner_up == "The Matrix Reloader"


def test_no_other_item_means_no_runner_up() -> None:
    link = FULL.link("The Big Sick (2017)")
    assert link is not None
    assert (link.runner_up, link.runner_up_score) == (None, None)
    assert link[:5] == ("The Big Sick|2017", "The Big Sick", 2017, 100.0, "exact")


def test_the_runner_up_is_not_another_name_of_the_item() -> None:
    link = linker(("Heat", 1995), aliases={"Heat": ["heat", "The Heat"]}).link("Heat")
    assert link is not None
    assert link.runner_up is None


_PIECES = st.sampled_from(
    [
        "The ",
        ", The",
        " (",
        ")",
        "[",
        "]",
        "a.k.a.",
        " or: ",
        ": ",
        " - ",
        "IV",
        "Part ",
        "²",
        "1999",
        "٢٠٠١",
        "ﷺ",
        "İ",
        "Dune",
        ", ",
        "&",
        " / ",
        "\x00",
        "\u202e",
        "\ud800",
        "\udfff",
        "\u0300",
        "\u0316",
        "\n",
    ]
)
_TEXT = st.one_of(
    st.text(st.characters(), max_size=400), st.lists(_PIECES, max_size=60).map("".join)
)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(_TEXT, st.sampled_from([title for title, _ in CATALOG])),
    st.one_of(st.none(), st.integers(-(10**6), 10**6)),
)
@example("", None)
@example("dune", None)
@example("\x00", 0)
@example("\ud800 (1999)", None)
def test_any_text_is_linked_or_rejected(text: str, year: int | None) -> None:
    link = FULL.link(text, year)
    if year is None and exact_key(text) in {exact_key(title) for title, _ in CATALOG}:
        assert link is not None
    if link is not None:
        assert MIN_SCORE <= link.score <= 100
        assert (link.title, link.year) in CATALOG
    assert link == FULL.link_many([("Heat", None), (text, year)])[1]


@settings(max_examples=300, deadline=None)
@given(_TEXT)
def test_any_text_has_names_words_and_a_key(text: str) -> None:
    names = parse_title(text).names
    assert len(names) <= 8
    assert all(word for name in names for word in plain_words(name))
    if len(text) < MAX_TITLE_CHARACTERS - 3:
        assert exact_key(f" {text}\n") == exact_key(text)


@settings(max_examples=100, deadline=None)
@given(st.lists(_TEXT.filter(lambda t: t.isprintable() or "\x00" in t), max_size=5))
@example(["Dune \x00", "(", "Heat (1995)"])
def test_any_catalog_finds_its_own_titles(titles: list[str]) -> None:
    utf8 = [t for t in titles if not any(0xD800 <= ord(c) <= 0xDFFF for c in t)]
    catalog = linker(*((title, 2000) for title in utf8))
    for title in utf8:
        assert (catalog.link(title, 2000) is not None) == bool(parse_title(title).names)


_UNITS = (
    "a|(|(1|a, | a.k.a. | or: |a: | - |\u0300\u0316|ﷺ|I |1,|\x00|\u202e|\ud800|[a] |Part 1 |İ|&"
)


@pytest.mark.parametrize("unit", [*_UNITS.split("|"), " / ", "- 19", " \t", "''"])
@pytest.mark.timeout(60)  # half a second is enough; the square of the length takes minutes to hours
def test_a_line_of_a_megabyte_takes_linear_time(unit: str) -> None:
    text = "The Matrix " + unit * (1_000_000 // len(unit)) + " (1999"
    FULL.link(text)
    split_bare_year(text)
    plain_words(text)
    exact_key(text)


@pytest.mark.timeout(60)
def test_many_long_lines_are_fast() -> None:
    texts = [
        (("a / b [c] (d), or: e " * 20)[: MAX_TITLE_CHARACTERS - 10] + f" {n}", None)
        for n in range(300)
    ]
    assert FULL.link_many(texts) == [None] * 300
