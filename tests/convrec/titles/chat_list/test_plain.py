"""The plain form: read as it always was, recognized alike by Python and by DuckDB."""

from __future__ import annotations

import re

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convrec.titles.chat_list.lines import read_items
from convrec.titles.chat_list.plain import NOT_PLAIN, PLAIN, is_plain
from convrec.titles.line_format import TitleYear, parse_chat_list, parse_line

MARKER = re.compile(r"^\s*(?:(?:\d{1,3}[.)]|[-*•])\s+)?")


def frozen_reading(text: str) -> list[tuple[str, TitleYear]]:
    """How lines were read before lists in other forms were, except for lists in one line."""
    items = []
    for raw in text.splitlines():
        line = MARKER.sub("", raw, count=1).strip().replace("**", "").strip("_ ").strip()
        item = parse_line(line) if line and not line.endswith(":") else None
        title = item.title.strip().strip('"“”').strip() if item else ""
        if item and title:
            items.append((raw, TitleYear(title, item.year)))
    return items


def is_plain_in_sql(text: str) -> bool:
    query = "SELECT regexp_full_match($text, $plain) AND NOT regexp_matches($text, $not_plain)"
    row = duckdb.execute(query, {"text": text, "plain": PLAIN, "not_plain": NOT_PLAIN}).fetchone()
    return bool(row and row[0])


PLAIN_TEXTS = [
    "1. Heat (1995)\n2. Ronin (1998)\n3. Alien",
    "1) Heat\n2) 12 Angry Men (1957)",
    "- Heat (1995)\n- 3:10 to Yuma\n- Le fabuleux destin d'Amélie Poulain",
    "Heat (1995)\nFor a Few Dollars More\nCrazy, Stupid, Love.\nAlien (1979)",
    "Here are some films you might enjoy:\n\n1. Heat (1995)\n2. What We Do in the Shadows",
    "Sure! My recommendations:\n\nHeat (1995)\nAirplane!",
    "Heat",
    "1. Heat\n\n2. Ronin\n",
    "1. Mission: Impossible - Fallout (2018)\n2. Star Wars: Episode IV - A New Hope",
    "The Cook, the Thief, His Wife & Her Lover (1989)\nAlien (1979)\nHeat",
    "1984 (1984)\n2001: A Space Odyssey (1968)\n10 Things I Hate About You\n300",
    "1. 1917\n2. 10 Things I Hate About You\n3. 300",
    "- Šťastně až na věky (2002)\n- Amélie (2001)",
]

OTHER_TEXTS = [
    "1. Heat (1995) - a tense duel\n2. Ronin (1998)",
    "1. **Heat** (1995)\n2. Ronin (1998)",
    "1: Heat (1995)\n2: Ronin (1998)",
    "1 Heat (1995)\n2 Ronin (1998)",
    "I. Heat (1995)\nII. Ronin (1998)",
    "A. Heat (1995)\nB. Ronin (1998)",
    "No. 1 Heat (1995)\nNo. 2 12 Angry Men (1957)",
    "- 1. Heat (1995)\n- 2. Ronin (1998)",
    "1. Heat (1995)\n- Director: Michael Mann",
    "Heat (1995)\nA tense duel\nRonin (1998)\nFast cars",
    "1. Heat - Crime\n2. Ronin - Crime\n3. Up - Pixar",
    "1. Dune by Frank Herbert\n2. Emma by Jane Austen\n3. Ubik by Philip Dick",
    "1. Heat, 1995\n2. Ronin, 1998",
    "1. Heat, 1995",
    "1. Title: Heat\n2. Title: Ronin",
    "Enjoy!",
    "I have no idea",
    "Sure, what do you like?",
    "I'm sorry, but I cannot do that. I can:\n- Talk about films",
    "1. Heat (1995)\n2. Ronin (1998)\n\nEnjoy!",
    '["Heat (1995)"]',
    "Heat (1995)\n\nA cop and a thief\n\nRonin (1998)",
    "| Heat | 1995 |\n| Ronin | 1998 |",
    "",
    "\n",
]


@pytest.mark.parametrize("text", PLAIN_TEXTS)
def test_plain_lists(text: str) -> None:
    assert is_plain(text)
    assert is_plain_in_sql(text)
    assert parse_chat_list(text) == frozen_reading(text)
    assert [item for _, item in read_items(text)] == [item for _, item in frozen_reading(text)]


@pytest.mark.parametrize("text", OTHER_TEXTS)
def test_other_texts(text: str) -> None:
    assert not is_plain(text)
    assert not is_plain_in_sql(text)


WORDS = st.sampled_from(
    [
        "Heat",
        "The",
        "of",
        "12",
        "Angry",
        "Men:",
        "- Fallout",
        "à",
        "Lost,",
        "in",
        "Part",
        "2",
        "New",
    ]
)
TITLES = st.lists(WORDS, min_size=1, max_size=5).map(" ".join)
YEARS = st.sampled_from(["", " (1995)", " (2018)"])
MARKERS = st.sampled_from(["", "- ", "{n}. ", "{n}) "])
BETWEEN = st.sampled_from(["\n", "\n\n", "\n "])


@settings(max_examples=400, deadline=None)
@given(
    lines=st.lists(st.tuples(TITLES, YEARS), min_size=1, max_size=6), marker=MARKERS, gap=BETWEEN
)
def test_python_and_duckdb_agree_and_plain_text_is_read_alike(
    lines: list[tuple[str, str]], marker: str, gap: str
) -> None:
    text = gap.join(f"{marker.format(n=n)}{t}{y}" for n, (t, y) in enumerate(lines, start=1))
    assert is_plain(text) == is_plain_in_sql(text)
    if is_plain(text) and ("\n" in text or text.count(",") < 3):
        assert parse_chat_list(text) == frozen_reading(text)
