from __future__ import annotations

import pytest

from convrec.serving.recommend import named_items

FILMS = [
    ("alien", "Alien", 1979),
    ("aliens", "Aliens", 1986),
    ("it-1990", "It", 1990),
    ("it-2017", "It", 2017),
    ("up", "Up", 2009),
    ("blade", "Blade Runner", 1982),
    ("blade49", "Blade Runner 2049", 2017),
    ("oceans", "Ocean's Eleven", 2001),
    ("plain", "Plan 9 (Director's Cut)", 1957),
]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("I loved Alien and Aliens", {"alien", "aliens"}),
        ("more like Aliens please", {"aliens"}),
        ("what else is up? I want it dark", set()),
        ("It was scary", {"it-1990", "it-2017"}),
        ("it (2017) was scary", {"it-2017"}),
        ("Up (2009) made me cry", {"up"}),
        ("blade runner 2049 is slow", {"blade49"}),
        ("Blade Runner and BLADE RUNNER 2049", {"blade", "blade49"}),
        ("Ocean’s Eleven was fun", {"oceans"}),
        ("Alienation is a word", set()),
        ("plan 9 (director's cut)!", {"plain"}),
        ("", set()),
    ],
)
def test_titles_are_found_in_a_text(text: str, named: set[str]) -> None:
    assert named_items(text, FILMS) == named


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("Alien³", "I loved Alien³"),
        ("Cop and ½", "cop and ½ is silly"),
        ("Das weiße Band", "as in das weiße Band"),
        ("Episode IV – A New Hope", "Episode IV – A New Hope again"),
        ("Ocean’s", "Ocean's or nothing"),
        ("Amélie", "Ame\u0301lie, of course"),
        ("The Big Short", "more of The Big\nShort"),
    ],
)
def test_spellings_of_characters_are_equal(title: str, text: str) -> None:
    assert named_items(text, [("it", title, 2000)]) == {"it"}


def test_an_empty_catalog_names_nothing() -> None:
    assert named_items("anything", []) == set()
