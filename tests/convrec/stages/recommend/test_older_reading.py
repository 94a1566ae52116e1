"""Answers that the first versions read alike keep their id; all others get another."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convrec.artifacts import Store
from convrec.config import Config
from convrec.llm.prices import NO_USAGE
from convrec.llm.requests import Request
from convrec.llm.response import make_response
from convrec.llm.response_store import ResponseStore
from convrec.stages.recommend.older_reading import PLAIN, answers_identity, is_read_alike
from convrec.titles.line_format import TitleYear, parse_chat_list, parse_line

MARKER = re.compile(r"^\s*(?:(?:\d{1,3}[.)]|[-*•])\s+)?")
PLAIN_LIST = "1. Heat (1995)\n2. Ronin (1998)"


def frozen_reading(text: str) -> list[tuple[str, TitleYear]]:
    """How lines were read by the first versions, except for lists in one line."""
    items = []
    for raw in text.splitlines():
        line = MARKER.sub("", raw, count=1).strip().replace("**", "").strip("_ ").strip()
        item = parse_line(line) if line and not line.endswith(":") else None
        title = item.title.strip().strip('"“”').strip() if item else ""
        if item and title:
            items.append((raw, TitleYear(title, item.year)))
    return items


def response(content: Any, finish: str = "stop", **fields: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, **fields}
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish}]}


@pytest.mark.parametrize(
    "text",
    [
        PLAIN_LIST,
        "1) Heat\n2) 12 Angry Men (1957)",
        "- Heat (1995)\n- 3:10 to Yuma\n- Le fabuleux destin d'Amélie Poulain",
        "Heat (1995)\nFor a Few Dollars More\nCrazy, Stupid, Love.\nAlien (1979)",
        "Here are some films you might enjoy:\n\n1. Heat (1995)\n2. What We Do in the Shadows",
        "1. Mission: Impossible - Fallout (2018)\n2. Star Wars: Episode IV - A New Hope",
        "1984 (1984)\n2001: A Space Odyssey (1968)\n10 Things I Hate About You\n300",
        "1. 1917\n2. 10 Things I Hate About You\n3. 300",
        "All the Light We Cannot See\nThe Book Thief\nCatch-22",
        "How about Heat, Ronin, Speed, and Alien?",
    ],
)
def test_answers_that_are_read_alike(text: str) -> None:
    assert is_read_alike(response(text), Config())
    if "\n" in text:
        assert parse_chat_list(text) == frozen_reading(text)


@pytest.mark.parametrize(
    "answer",
    [
        response("1. Heat (1995) - a tense duel\n2. Ronin (1998)"),
        response("1: Heat (1995)\n2: Ronin (1998)"),
        response("1. Heat (1995)\n- Director: Michael Mann"),
        response("1. Heat, 1995\n2. Ronin, 1998"),
        response(f"{PLAIN_LIST}\n\nEnjoy!"),
        response('["Heat (1995)"]'),
        response("| Heat | 1995 |\n| Ronin | 1998 |"),
        response("I'm sorry, but I cannot help with that."),
        response(f"<think>Up (2009)</think>\n{PLAIN_LIST}"),
        response([{"type": "text", "text": PLAIN_LIST}]),
        response(PLAIN_LIST, "length"),
        response(PLAIN_LIST, "content_filter"),
        response(PLAIN_LIST, refusal="I can't help with that."),
        response(None, "length", reasoning_content="Up (2009)"),
        {"choices": [{"text": PLAIN_LIST, "finish_reason": "stop"}]},
    ],
)
def test_answers_that_are_read_differently(answer: dict[str, Any]) -> None:
    assert not is_read_alike(answer, Config())


@pytest.mark.parametrize(
    "answer",
    [response(None), response(""), response(None, refusal="No."), response("…:")],
)
def test_answers_without_a_list_keep_their_reason(answer: dict[str, Any]) -> None:
    assert is_read_alike(answer, Config())


def test_an_answer_in_another_form_moves_the_id(tmp_path: Path) -> None:
    store, config = Store(tmp_path), Config()
    requests = [Request(f"c{n}", "test", {"model": "m", "messages": [str(n)]}) for n in range(2)]
    texts = [PLAIN_LIST, f"```\n{PLAIN_LIST}\n```"]
    ResponseStore(store).add(
        [
            make_response(request, json.dumps(response(text)), NO_USAGE, 0.0, run="r", stage="s")
            for request, text in zip(requests, texts, strict=True)
        ]
    )
    assert answers_identity(requests[:1], store, config).keys() == {"answers"}
    assert answers_identity(requests, store, config)["reading"] == "2"


WORDS = st.sampled_from(
    [
        "Heat",
        "The",
        "of",
        "12",
        "Men",
        "à",
        "in",
        "Part",
        "2:",
        "by",
        "Lost,",
        "Who's",
        "Mr.",
        "you",
    ]
)
TITLES = st.lists(WORDS, min_size=1, max_size=6).map(" ".join)


@settings(max_examples=400, deadline=None)
@given(titles=st.lists(TITLES, min_size=1, max_size=6), sign=st.sampled_from(".)"))
def test_lists_that_are_not_compared_are_read_alike(titles: list[str], sign: str) -> None:
    lines = [f"{n}{sign} {title} (19{n + 10})" for n, title in enumerate(titles, start=1)]
    text = "\n".join(lines)
    if re.fullmatch(PLAIN, text) and len(titles) > 1:
        assert parse_chat_list(text) == frozen_reading(text)
