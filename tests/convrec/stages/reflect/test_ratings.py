"""Ratings are read in every form that means one thing, and refused in every other."""

from __future__ import annotations

import json
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convrec.llm.answer import Answer
from convrec.stages.reflect.parse import read_judgment
from convrec.stages.reflect.ratings import NOT_JSON, read_ratings

ENTRIES = [
    {"candidate": 3, "rating": -1},
    {"candidate": 1, "rating": 2},
    {"candidate": 2, "rating": 0},
]
RATINGS = {0: 2, 1: 0, 2: -1}
ASKED = json.dumps({"ratings": ENTRIES})
OTHER = json.dumps({"ratings": [entry | {"rating": 1} for entry in ENTRIES]})
IN_ORDER = [2, 0, -1]


def entries(**names: str) -> str:
    """The entries under other names."""
    renamed = [{names.get(name, name): value for name, value in e.items()} for e in ENTRIES]
    return json.dumps({"ratings": renamed})


def with_two(written: str) -> str:
    return ASKED.replace('"rating": 2', f'"rating": {written}')


NUMBERS = {
    "a float": with_two("2.0"),
    "an exponent": with_two("2e0"),
    "a string": with_two('"2"'),
    "a float in a string": with_two('"2.0"'),
    "a plus": with_two("+2"),
    "a plus in a string": with_two('"+2"'),
    "spaces": with_two('" 2 "'),
    "full width": with_two('"２"'),
    "full width, bare": with_two("２"),
    "a minus sign": ASKED.replace("-1", "−1"),
    "a minus sign in a string": ASKED.replace("-1", '"−1"'),
    "a dash in a string": ASKED.replace("-1", '"–1"'),
    "a candidate as a string": ASKED.replace(": 1,", ': "1",'),
    "a named candidate": ASKED.replace(": 1,", ': "Candidate 1",'),
    "a candidate in brackets": ASKED.replace(": 1,", ': "[1]",'),
    "a minus with a space": ASKED.replace("-1", "- 1"),
    "a candidate with its line": ASKED.replace(": 1,", ': "1. Heat (1995)",'),
}
WRAPPINGS = {
    "a fence": f"```json\n{ASKED}\n```",
    "a fence without a language": f"```\n{ASKED}\n```",
    "a preface": f"Here are the ratings:\n\n{ASKED}",
    "a closing": f"{ASKED}\n\nI rated candidate 3 low {{it is too loud}} [see above].",
    "both in one line": f"Sure! {ASKED} Anything else?",
    "a second, empty fence": f"```json\n{ASKED}\n```\n```\n```",
    "the same object twice": f"{ASKED}\n```json\n{ASKED}\n```",
    "an example first": f'I use {{"candidate": 1, "rating": 0}}.\n{ASKED}',
    "a scale first": f"On a scale of [-2, 2]: {ASKED}",
    "a string": json.dumps(ASKED),
    "a string in a string": json.dumps(json.dumps(ASKED)),
    "a string inside": json.dumps({"ratings": json.dumps(ENTRIES)}),
    "a string under another name": json.dumps({"name": "rate", "arguments": ASKED}),
    "a fence in a string inside": json.dumps({"answer": f"```json\n{ASKED}\n```"}),
    "escaped quotes": ASKED.replace('"', '\\"'),
    "no-break spaces": ASKED.replace(" ", "\u00a0"),
    "unseen signs": ASKED.replace('"candidate"', '\u200b"candidate"'),
    "typographic quotes": ASKED.replace(' "', " “").replace('":', "”:"),
    "a byte order mark": f"\ufeff{ASKED}",
    "a control character": ASKED.replace("}", ', "why": "\t"}'),
}
SHAPES = {
    "a bare array": json.dumps(ENTRIES),
    "an array around the object": f"[{ASKED}]",
    "another name": json.dumps({"results": ENTRIES}),
    "an object around it": json.dumps({"answer": {"ratings": ENTRIES}, "comment": "done"}),
    "reasons in a list": '{"scores": [2, 0, -1], "reasons": ["fits", "so so", "too loud"]}',
    "an object per line": "\n".join(map(json.dumps, ENTRIES)),
    "numbers in order": json.dumps(IN_ORDER),
    "numbers in an array": json.dumps([IN_ORDER]),
    "numbers after a preface": f"Ratings: {IN_ORDER}",
    "numbers in the object": json.dumps({"ratings": IN_ORDER}),
    "strings in the object": json.dumps({"ratings": ["2", "0", "-1"]}),
    "by candidate": '{"1": 2, "2": 0, "3": -1}',
    "by candidate in the object": '{"ratings": {"3": -1, "1": 2, "2": 0}}',
    "by candidate, by name": '{"candidate_1": 2, "candidate_2": 0, "candidate_3": -1}',
    "by candidate, with its line": '{"1. Heat": 2, "2. Up": 0, "3. 12 Monkeys": -1}',
    "by candidate, with reasons": '{"1": {"rating": 2, "why": "x"}, "2": {"rating": 0}, "3": -1}',
    "one name each": '[{"1": 2}, {"2": 0}, {"3": -1}]',
    "couples": "[[1, 2], [2, 0], [3, -1]]",
    "two lists": '{"candidates": [3, 1, 2], "ratings": [-1, 2, 0]}',
    "ratings alone": json.dumps([{"rating": r, "reason": "x"} for r in IN_ORDER]),
}
NAMES = {
    "case": entries(candidate="Candidate", rating="RATING"),
    "candidate_id": entries(candidate="candidate_id"),
    "candidateId": entries(candidate="candidateId"),
    "candidate number": entries(candidate="candidate number"),
    "id": entries(candidate="id"),
    "index": entries(candidate="index"),
    "number": entries(candidate="number", rating="score"),
    "score": entries(rating="score"),
    "a title next to it": ASKED.replace('"candidate": 1', '"candidate": "Heat", "id": 1'),
    "a score next to it": ASKED.replace('"rating": 2', '"rating": 2, "score": 0.97'),
    "the same name twice": ASKED.replace('"rating": 2', '"rating": 2, "rating": 2'),
}
SYNTAX = {
    "trailing commas": ASKED.replace("}", ",}").replace("]", ",]"),
    "single quotes": ASKED.replace('"', "'"),
    "names without quotes": ASKED.replace('"', ""),
    "line comments": ASKED.replace("}, ", "}, // fits\n"),
    "block comments": ASKED.replace("}, ", "}, /* fits */ "),
    "missing commas": ASKED.replace("}, ", "} "),
    "missing brackets": ASKED[:-2],
    "numbers as names": "{1: 2, 2: 0, 3: -1}",
}
READ = {**NUMBERS, **WRAPPINGS, **SHAPES, **NAMES, **SYNTAX}


@pytest.mark.parametrize("text", READ.values(), ids=READ)
def test_ratings_that_mean_one_thing_are_read(text: str) -> None:
    assert read_ratings(text, 3, 2) == RATINGS


NOT_WHOLE = "an entry is no object of two whole numbers, candidate and rating"
TWO_SETS = "it holds two different sets of ratings"
REFUSED = {
    "half a rating": (with_two("2.5"), NOT_WHOLE),
    "half a rating in a string": (with_two('"2.5"'), NOT_WHOLE),
    "true": (with_two("true"), NOT_WHOLE),
    "null": (with_two("null"), NOT_WHOLE),
    "a fraction": (with_two('"2/5"'), NOT_WHOLE),
    "a range": (with_two('"1-2"'), NOT_WHOLE),
    "a word": (with_two('"two"'), NOT_WHOLE),
    "infinity": (with_two("Infinity"), NOT_WHOLE),
    "a rating in words, with a score": (with_two('"high", "score": 2'), NOT_WHOLE),
    "out of range": (with_two("3"), "rating 3 is not between -2 and 2"),
    "out of range in a fence": (
        f"```json\n{with_two('3')}\n```",
        "rating 3 is not between -2 and 2",
    ),
    "repeated": (ASKED.replace(": 2,", ": 1,"), "candidate 1 is rated twice"),
    "missing": (json.dumps({"ratings": ENTRIES[:2]}), "candidates without a rating: 2"),
    "missing in a fence": (
        f"```\n{json.dumps(ENTRIES[:2])}\n```",
        "candidates without a rating: 2",
    ),
    "from 0": (
        '{"0": 2, "1": 0, "2": -1}',
        "there is no candidate 0; they go from 1 to 3",
    ),
    "two objects": (f"{OTHER}\nRather:\n{ASKED}", TWO_SETS),
    "two fences": (f"```json\n{OTHER}\n```\n```json\n{ASKED}\n```", TWO_SETS),
    "one of two out of range": (f"{with_two('3')} {ASKED}", TWO_SETS),
    "two values of a name": (
        with_two('2, "rating": 1'),
        "an object says two different things under one name",
    ),
    "two lists": (
        f'{{"ratings": {IN_ORDER}, "ratings": [0, 0, 0]}}',
        NOT_WHOLE,
    ),
    "too few in order": ("[2, 0]", "it has 2 ratings without candidates; there are 3"),
    "too many in order": ("[2, 0, 1, 1]", "it has 4 ratings without candidates; there are 3"),
    "numbers in a sentence": ("Ratings from [-2, 0, 2] are allowed", NOT_JSON),
    "two arrays": ("[2, 0, 1] or [2, 0, -1]", NOT_JSON),
    "titles as candidates": (
        '[{"title": "Heat", "rating": 2}, {"title": "Up", "rating": 0}, {"title": "It", '
        '"rating": -1}]',
        NOT_WHOLE,
    ),
    "by title": ('{"Heat": 2, "Up": 0, "It": -1}', NOT_JSON),
    "two candidate numbers": (
        '[{"id": 1, "index": 0, "rating": 2}, {"id": 2, "index": 1, "rating": 0}, '
        '{"id": 3, "index": 2, "rating": -1}]',
        NOT_WHOLE,
    ),
    "couples of either order": ("[[1, 2], [2, 1], [3, 3]]", NOT_WHOLE),
    "a list that does not match": (
        '{"candidates": ["Heat", "Up", "It"], "ratings": [2, 0, -1]}',
        NOT_WHOLE,
    ),
    "words": ("Candidate one is best.", NOT_JSON),
    "nothing": ("", NOT_JSON),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED)
def test_other_ratings_are_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        read_ratings(text, 3, 2)


def test_a_cut_answer_that_is_whole_is_read() -> None:
    assert read_judgment(Answer(ASKED, is_cut=True), 3, 2) == RATINGS


def test_a_cut_answer_names_the_setting() -> None:
    with pytest.raises(ValueError, match=r"cut at its limit, raise reflect\.max_tokens"):
        read_judgment(Answer(ASKED[:60], is_cut=True), 3, 2)


PIECES = [
    *("{", "[", '{"a":', "[1,", "[[1,2],", '"', "\\", "//", "/*", "# ", "'", "',", '"a":', ","),
    *("{,", "a:", "+", '{"ratings":[', '{"candidate": 1, "rating": ', " ", "1", "“"),
]


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("start", ["", '{"ratings":', '"'])
def test_a_long_text_is_read_at_once(start: str, piece: str) -> None:
    began = time.process_time()
    with pytest.raises(ValueError, match=r"\w"):
        read_ratings(start + piece * (190_000 // len(piece)), 3, 2)
    assert time.process_time() - began < 2


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([*PIECES, ASKED, "1", "]", "}", "2"]), max_size=8).map("".join))
def test_what_is_read_is_complete(text: str) -> None:
    try:
        ratings = read_ratings(text, 3, 2)
    except ValueError:
        return
    assert ratings.keys() == {0, 1, 2}
    assert set(ratings.values()) <= set(range(-2, 3))
