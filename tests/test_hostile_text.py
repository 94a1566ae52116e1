"""Any text from a file, a post or a model is parsed, or rejected in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from convrec.artifacts.identity import digest
from convrec.catalog.years import parse_year
from convrec.config import load
from convrec.demo.completion import complete
from convrec.errors import ConvrecError
from convrec.llm.answer import read_answer
from convrec.llm.outcome import error_failure
from convrec.llm.rate_limit import parse_duration
from convrec.llm.response_body import parse_response
from convrec.metrics.protocols.reference import parse_list
from convrec.stages.ingest.dialogues import parse_dbpedia_name, strip_last_speaker
from convrec.stages.recommend.step import teacher_messages
from convrec.stages.reflect.parse import read_ratings
from convrec.stages.reflect.prompt import judge_body
from convrec.titles.line_format import line_format, parse_chat_list
from convrec.titles.named_items import named_items
from convrec.titles.normalize import split_bare_year
from convrec.utils import markdown

DEMO = load("demo")
ITEMS = [("a", "Alien", 1979), ("h", "Heat", 1995), ("i", "It", None)]


def ask(model: str, text: str) -> Any:
    if model == "demo-judge":
        return complete(judge_body(text, [text], DEMO) | {"model": model})
    return complete({"model": model, "messages": teacher_messages(text, DEMO)})


PARSERS: dict[str, Callable[[str], Any]] = {
    "list": parse_chat_list,
    "list in another format": lambda text: parse_chat_list(text, line_format("{year}: {title}")),
    "published list": parse_list,
    "ratings": lambda text: read_ratings(text, 3, 2),
    "response": lambda text: parse_response(text, {"messages": [text]}),
    "content": lambda text: read_answer({"choices": [{"message": {"content": text}}]}),
    "refusal": lambda text: error_failure(
        "u", "sk-secret1", 400, {"message": text}, {"messages": text}
    ),
    "duration": parse_duration,
    "year": parse_year,
    "bare year": split_bare_year,
    "entity name": parse_dbpedia_name,
    "dialogue": strip_last_speaker,
    "titles in a post": lambda text: named_items(text, ITEMS),
    "markdown": lambda text: (
        markdown.escaped_table(["a"], [[text]], 50) + markdown.code_block(text)
    ),
    "mermaid": markdown.mermaid_label,
    "digest": digest,
    "demo teacher": lambda text: ask("demo-teacher", text),
    "demo judge": lambda text: ask("demo-judge", text),
}

NESTED = "[" * 10_000
TEXTS = {
    "nothing": "",
    "null bytes": "\0Alien\0 (1979)\n\0",
    "right to left": "\u202e\u2066Alien (1979)\u200f\n\u202b1. Heat",
    "half a character": "\ud800 (1999)\n1. \udfff\nHeat\ud83d",
    "accents on accents": "e" + "\u0301\u0316" * 2000,
    "every line break": "a\rb\vc\fd\x1ce\x1df\x1eg\x85h\u2028i\u2029j",
    "1 MB in a line": "Alien (1979) " * 80_000,
    "1 MB of spaces": " " * 500_000 + "\u00a0" * 500_000 + ".",
    "1 MB of digits": "1" * 1_000_000,
    "1 MB of brackets": "(" * 500_000 + ")" * 500_000,
    "1 MB of list marks": "1. *- " * 160_000,
    "1 MB of commas": "Alien, Heat, and " * 60_000,
    "1 MB of empty lines": "\n" * 1_000_000,
    "our own tags": "<conversation>" * 1000 + "</conversation><candidates>1. </candidates>",
    "nested JSON": NESTED + "]" * 10_000,
    "nested ratings": '{"ratings": ' + NESTED,
    "a number with no end": '{"ratings": [{"candidate": 1' + "0" * 5000 + "}]}",
    "no number": '{"usage": {"prompt_tokens": NaN}, "choices": [{}]}',
    "infinite": "inf",
    "letters that fold into others": "ALıEN, İt, ﬁlm, ẞ, ſ, K",
}


def parses_or_rejects(parser: Callable[[str], Any], text: str) -> None:
    try:
        parser(text)
    except UnicodeError:
        raise
    except (ConvrecError, ValueError) as error:
        sentence = str(error)
    else:
        return
    assert len(sentence.splitlines()) <= 1


@pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS)
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_hostile_text_is_parsed_or_rejected(parser: Callable[[str], Any], text: str) -> None:
    parses_or_rejects(parser, text)


MARKS = "()[]<>{}\"'`*_#-–,.:;/\\|&0123456789aAİß \t\n\r\0\u0301\u200f\u202e\ud800"
ANYTHING = st.text(st.one_of(st.sampled_from(MARKS), st.characters()), max_size=60)


@pytest.mark.parametrize("parser", PARSERS.values(), ids=PARSERS)
@settings(max_examples=60)
@given(text=ANYTHING)
def test_any_text_is_parsed_or_rejected(parser: Callable[[str], Any], text: str) -> None:
    parses_or_rejects(parser, text)


NAMES = [
    *("choices", "message", "content", "refusal", "usage", "prompt_tokens", "completion_tokens"),
    *("prompt_tokens_details", "cached_tokens", "ratings", "candidate", "rating"),
]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats()
    | st.sampled_from(["", "\ud800", "12", "Alien (1979)"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(JSON, JSON)
def test_any_response_is_a_success_or_a_failure(message: Any, usage: Any) -> None:
    for body in ({"choices": [{"message": message}], "usage": usage}, message):
        parse_response(json.dumps(body), {"messages": []})
    text, reason, *_ = read_answer({"choices": [{"message": message}]})
    assert (text is None) == bool(reason)
    (text or "").encode()


ENTRY = st.fixed_dictionaries({"candidate": st.integers(0, 3), "rating": st.integers(-3, 3)})


@settings(max_examples=300)
@given(JSON | st.lists(ENTRY, max_size=3))
@example([{"candidate": 1, "rating": 2}, {"candidate": 2, "rating": -2}])
@example([{"candidate": 1, "rating": 3}, {"candidate": 2, "rating": -2}])
def test_any_ratings_are_complete_or_rejected(ratings: Any) -> None:
    try:
        ratings_by_position = read_ratings(json.dumps({"ratings": ratings}), 2, 2)
    except ValueError:
        return
    assert ratings_by_position.keys() == {0, 1}
    assert set(ratings_by_position.values()) <= set(range(-2, 3))
