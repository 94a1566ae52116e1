"""A plain list is read as by the other rules."""

from __future__ import annotations

import csv
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convrec.config import ROOT
from convrec.titles.chat_list import reader
from convrec.titles.chat_list.plain import read_plain
from convrec.titles.line_format import DEFAULT_FORMAT

Title = tuple[str, int]


def by_the_rules(text: str, monkeypatch: pytest.MonkeyPatch) -> reader.Items:
    with monkeypatch.context() as patched:
        patched.setattr(reader, "read_plain", lambda text: [])
        return reader.read_list(text, DEFAULT_FORMAT)


def numbered(titles: list[Title]) -> str:
    return "\n".join(f"{n}. {title} ({year})" for n, (title, year) in enumerate(titles, start=1))


def catalog_titles() -> list[Title]:
    titles = []
    for name in ("films.csv", "books.csv"):
        with (ROOT / "convrec" / "demo" / name).open(encoding="utf-8", newline="") as file:
            titles += [(row["title"], int(row["year"])) for row in csv.DictReader(file)]
    return titles


def test_titles_of_catalogs(monkeypatch: pytest.MonkeyPatch) -> None:
    titles, plain = catalog_titles(), 0
    random.Random(1).shuffle(titles)
    lists = [titles[start : start + 5] for start in range(0, len(titles), 5)]
    for text in map(numbered, lists):
        found = read_plain(text)
        plain += bool(found)
        assert not found or found == by_the_rules(text, monkeypatch)
    assert plain > len(lists) / 2


WORDS = st.sampled_from(
    """The Series Movie Part Why Director Cast Note Season Heat Yes Sorry I Title Year From In of a
    and 7 2001 90 II Dr. Mrs. What? No! Mission: Alien: Title: O'Brien AC/DC & re-make""".split()  # noqa: SIM905
)
TITLES = st.tuples(
    st.one_of(
        st.lists(WORDS, min_size=1, max_size=6).map(" ".join),
        st.text("aA é1 -:.,'&!?/’(*\"", min_size=1, max_size=12),
    ),
    st.integers(1890, 2030),
)


@given(st.lists(TITLES, min_size=1, max_size=6))
def test_any_titles(titles: list[Title]) -> None:
    text = numbered(titles)
    with pytest.MonkeyPatch.context() as monkeypatch:
        found = read_plain(text)
        assert not found or found == by_the_rules(text, monkeypatch)


@pytest.mark.parametrize(
    "text",
    [
        "1. Heat (1995)\n2. Up (2009)",  # may be a sentence
        "1. Heat (1995)\n3. Up (2009)\n4. Alien (1979)",
        "1. Heat (1995)\n2. Up\n3. Alien (1979)",
        "Sure!\n1. Heat (1995)\n2. Up (2009)\n3. Alien (1979)",
        "1. Heat (1995) - a heist\n2. Up (2009)\n3. Alien (1979)",
        "1. Title: Heat (1995)\n2. Up (2009)\n3. Alien (1979)",
    ],
)
def test_other_answers_are_left_to_the_rules(text: str) -> None:
    assert read_plain(text) == []
