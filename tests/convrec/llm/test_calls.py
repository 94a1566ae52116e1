from __future__ import annotations

import json

from convrec.llm.calls import Answered, Failure, read_response, refusal
from convrec.llm.prices import Usage

EMBED = {"model": "m", "input": ["one", "two"]}


def test_embeddings_are_whole_with_one_vector_a_text() -> None:
    rows = [{"index": n, "embedding": [0.5]} for n in range(2)]
    whole = json.dumps({"data": rows, "usage": {"prompt_tokens": 2, "total_tokens": 2}})
    found = read_response(whole, EMBED)
    assert isinstance(found, Answered)
    assert found.usage == Usage(2, 0, 0)
    short = read_response(json.dumps({"data": rows[:1]}), EMBED)
    assert isinstance(short, Failure)
    assert (short.kind, short.reason) == (
        "transient",
        "the response holds not one embedding for each text",
    )


def test_an_endpoint_that_reports_no_usage_is_billed_for_what_was_read() -> None:
    found = read_response(json.dumps({"data": [{}, {}]}), EMBED)
    assert isinstance(found, Answered)
    assert (found.usage.prompt, found.usage.completion) == (2, 0)


def test_a_text_that_is_refused_stops_no_other_and_a_missing_route_stops_all() -> None:
    said = {"message": "input is not welcome", "param": "input"}
    assert refusal("u", "", 400, said, EMBED).kind == "request"
    missing = refusal("u", "", 404, {}, EMBED)
    assert missing.kind == "terminal"
    assert "has no /embeddings" in missing.reason
