from __future__ import annotations

import json

import pytest

from convrec.config import Price
from convrec.llm.client import MAX_DEPTH, Failure, Success, error_failure, parse_response
from convrec.llm.prices import Usage, cost

EMBED = {"model": "m", "input": ["one", "two"]}
TALK = {"model": "m", "messages": [{"role": "user", "content": "x" * 300}]}


def test_embeddings_are_whole_with_one_vector_a_text() -> None:
    rows = [{"index": n, "embedding": [0.5]} for n in range(2)]
    whole = json.dumps({"data": rows, "usage": {"prompt_tokens": 2, "total_tokens": 2}})
    found = parse_response(whole, EMBED)
    assert isinstance(found, Success)
    assert found.usage == Usage(2, 0, 0)
    short = parse_response(json.dumps({"data": rows[:1]}), EMBED)
    assert isinstance(short, Failure)
    assert (short.kind, short.reason) == (
        "transient",
        "the response holds not one embedding for each text",
    )


def test_an_endpoint_that_reports_no_usage_is_billed_for_what_was_read() -> None:
    found = parse_response(json.dumps({"data": [{}, {}]}), EMBED)
    assert isinstance(found, Success)
    assert (found.usage.prompt, found.usage.completion) == (2, 0)


def test_a_text_that_is_refused_stops_no_other_and_a_missing_route_stops_all() -> None:
    said = {"message": "input is not welcome", "param": "input"}
    assert error_failure("u", "", 400, said, EMBED).kind == "request"
    missing = error_failure("u", "", 404, {}, EMBED)
    assert missing.kind == "terminal"
    assert "has no /embeddings" in missing.reason


@pytest.mark.parametrize(
    ("usage", "billed"),
    [
        ({"prompt_tokens": 32, "completion_tokens": 9}, Usage(32, 0, 9)),
        (  # thinking counted beside the answer, and in the total
            {
                "prompt_tokens": 32,
                "completion_tokens": 9,
                "total_tokens": 135,
                "completion_tokens_details": {"reasoning_tokens": 94},
            },
            Usage(32, 0, 103, 94),
        ),
        (  # the same without a total
            {
                "prompt_tokens": 32,
                "completion_tokens": 9,
                "completion_tokens_details": {"reasoning_tokens": 94},
            },
            Usage(32, 0, 103, 94),
        ),
        ({"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 60}, Usage(32, 0, 28)),
        (  # what the cache gave, counted beside the prompt
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
def test_tokens_are_billed_however_an_endpoint_counts_them(
    usage: dict[str, object], billed: Usage
) -> None:
    found = parse_response(json.dumps({"choices": [{}], "usage": usage}), TALK)
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
def test_half_a_count_is_none_and_billed_at_the_most(usage: dict[str, object]) -> None:
    text = json.dumps({"choices": [{"message": {"content": "y" * 300}}], "usage": usage})
    found = parse_response(text, TALK)
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
def test_an_error_in_a_response_of_status_200_is_no_answer(body: dict[str, object]) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 1}
    found = parse_response(json.dumps({**body, "usage": usage}), TALK)
    assert isinstance(found, Failure)
    assert (found.kind, found.usage) == ("transient", Usage(100, 0, 1))


def test_a_response_that_could_not_be_read_everywhere_is_not_stored() -> None:
    def nested(levels: int) -> str:
        return '{"choices": [{"message": {}, "more": ' + "[" * levels + "]" * levels + "}]}"

    assert isinstance(parse_response(nested(MAX_DEPTH - 3), TALK), Success)
    found = parse_response(nested(MAX_DEPTH + 1), TALK)
    assert isinstance(found, Failure)
    assert found.reason == "the response holds more than 100 levels"
    assert isinstance(parse_response(nested(990), TALK), Failure)
