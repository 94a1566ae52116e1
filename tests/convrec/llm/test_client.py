from __future__ import annotations

import json

import pytest

from convrec.config import Price
from convrec.llm.outcome import Failure, Success, error_failure
from convrec.llm.prices import Usage, cost
from convrec.llm.response_body import MAX_DEPTH, parse_response

EMBED = {"model": "m", "input": ["one", "two"]}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "x" * 300}]}


def test_embeddings_need_one_vector_per_text() -> None:
    rows = [{"index": n, "embedding": [0.5]} for n in range(2)]
    complete = json.dumps({"data": rows, "usage": {"prompt_tokens": 2, "total_tokens": 2}})
    found = parse_response(complete, EMBED)
    assert isinstance(found, Success)
    assert found.usage == Usage(2, 0, 0)
    short = parse_response(json.dumps({"data": rows[:1]}), EMBED)
    assert isinstance(short, Failure)
    assert (short.kind, short.reason) == (
        "transient",
        "the response holds not one embedding for each text",
    )


def test_embeddings_without_usage_are_billed_by_input() -> None:
    found = parse_response(json.dumps({"data": [{}, {}]}), EMBED)
    assert isinstance(found, Success)
    assert (found.usage.prompt, found.usage.completion) == (2, 0)


def test_a_missing_route_is_terminal_a_refused_text_is_not() -> None:
    error = {"message": "input is not welcome", "param": "input"}
    assert error_failure("u", "", 400, error, EMBED).kind == "request"
    missing = error_failure("u", "", 404, {}, EMBED)
    assert missing.kind == "terminal"
    assert "does not have /embeddings" in missing.reason


@pytest.mark.parametrize(
    ("usage", "billed"),
    [
        ({"prompt_tokens": 32, "completion_tokens": 9}, Usage(32, 0, 9)),
        (  # reasoning is not part of completion_tokens, but of the total
            {
                "prompt_tokens": 32,
                "completion_tokens": 9,
                "total_tokens": 135,
                "completion_tokens_details": {"reasoning_tokens": 94},
            },
            Usage(32, 0, 103, 94),
        ),
        (  # as before, without a total
            {
                "prompt_tokens": 32,
                "completion_tokens": 9,
                "completion_tokens_details": {"reasoning_tokens": 94},
            },
            Usage(32, 0, 103, 94),
        ),
        ({"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 60}, Usage(32, 0, 28)),
        (  # cached tokens are not part of prompt_tokens
            {
                "prompt_tokens": 10,
                "completion_tokens": 9,
                "total_tokens": 19,
                "prompt_tokens_details": {"cached_tokens": 1000},
            },
            Usage(1010, 1000, 9),
        ),
    ],
)
def test_tokens_are_billed_for_every_way_of_counting(
    usage: dict[str, object], billed: Usage
) -> None:
    found = parse_response(json.dumps({"choices": [{}], "usage": usage}), CHAT)
    assert isinstance(found, Success)
    assert found.usage == billed
    assert cost(Price(input=1, cached_input=0.1, output=1), found.usage) > 0


@pytest.mark.parametrize(
    "usage",
    [
        {},
        {"total_tokens": 400},
        {"input_tokens": 100, "output_tokens": 50},
        {"prompt_tokens": 100},
        {"prompt_tokens": None, "completion_tokens": None},
        {"prompt_tokens": 0, "completion_tokens": 0},
    ],
)
def test_an_incomplete_usage_is_billed_at_the_maximum(usage: dict[str, object]) -> None:
    text = json.dumps({"choices": [{"message": {"content": "y" * 300}}], "usage": usage})
    found = parse_response(text, CHAT)
    assert isinstance(found, Success)
    assert found.usage.prompt >= 100
    assert found.usage.completion >= 100


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": 502, "message": "the model broke off"}},
        {"error": {"code": 502}, "choices": [{"message": {"content": "1. He"}}]},
        {"choices": [{"finish_reason": "error", "error": {"code": 502}, "message": {}}]},
    ],
)
def test_an_error_with_status_200_is_a_failure(body: dict[str, object]) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 1}
    found = parse_response(json.dumps({**body, "usage": usage}), CHAT)
    assert isinstance(found, Failure)
    assert (found.kind, found.usage) == ("transient", Usage(100, 0, 1))


def test_a_deeply_nested_response_is_a_failure() -> None:
    def nested(levels: int) -> str:
        return '{"choices": [{"message": {}, "more": ' + "[" * levels + "]" * levels + "}]}"

    assert isinstance(parse_response(nested(MAX_DEPTH - 3), CHAT), Success)
    found = parse_response(nested(MAX_DEPTH + 1), CHAT)
    assert isinstance(found, Failure)
    assert found.reason == "the response holds more than 100 levels"
    assert isinstance(parse_response(nested(990), CHAT), Failure)
