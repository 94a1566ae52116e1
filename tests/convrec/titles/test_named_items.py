from __future__ import annotations

import random
import re

import pytest

from convrec.titles.named_items import named_items
from convrec.titles.normalize import exact_key

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


def test_only_titles_that_cannot_occur_are_skipped() -> None:
    """Against one pattern of all titles, on random texts of the words of titles."""
    rng = random.Random(0)
    titles = [title for _, title, _ in FILMS]
    titles += ["'71", "???", "M*A*S*H", "İstanbul", "Straße", "The Blade", "Up (the film)", "Naïve"]
    items = [(f"i{k}", title, None) for k, title in enumerate(titles)]
    words = [word for title in titles for word in title.split()] + ["the", "is", "istanbul", "2049"]
    pattern = "|".join(sorted(map(re.escape, titles), key=len, reverse=True))
    found = 0
    for _ in range(400):
        text = " ".join(
            rng.choice((str, str.upper, str.lower))(rng.choice(words)) for _ in range(8)
        )
        expected = {
            item
            for match in re.finditer(rf"(?<!\w)({pattern})(?!\w)", text, re.IGNORECASE)
            for item, title, _ in items
            if exact_key(title) == exact_key(match[1]) and (" " in title or match[1] == title)
        }
        assert named_items(text, items) == expected
        found += len(expected)
    assert found > 100
