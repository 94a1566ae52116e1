from __future__ import annotations

import json
from itertools import permutations, product

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convrec.artifacts import Store
from convrec.llm.answer import FILTERED
from convrec.llm.prices import NO_USAGE
from convrec.llm.requests import Request
from convrec.llm.response import Response, make_response
from convrec.llm.response_store import ResponseStore
from convrec.stages.reflect import parse
from convrec.stages.reflect.parse import (
    ParsedRatings,
    parse_exact,
    parse_first_responses,
    parse_ratings,
    requests_digest,
)
from convrec.stages.reflect.ratings import read_ratings
from tests.support.stored_responses import dead_spool

SHOWN, SCALE = 3, 2


def to_json(entries: object) -> str:
    return json.dumps({"ratings": entries})


entry = st.fixed_dictionaries(
    {
        "candidate": st.one_of(st.integers(-1, SHOWN + 1), st.sampled_from([True, "1", 1.0, None])),
        "rating": st.one_of(st.integers(-SCALE - 1, SCALE + 1), st.sampled_from([False, "2", 1e9])),
    }
)
proper = st.permutations(range(1, SHOWN + 1)).flatmap(
    lambda order: st.lists(st.integers(-SCALE, SCALE), min_size=SHOWN, max_size=SHOWN).map(
        lambda ratings: [{"candidate": c, "rating": r} for c, r in zip(order, ratings, strict=True)]
    )
)
PROPER = {
    to_json([{"candidate": c, "rating": r} for c, r in zip(order, ratings, strict=True)])
    for order in permutations(range(1, SHOWN + 1))
    for ratings in product(range(-SCALE, SCALE + 1), repeat=SHOWN)
}
responses = st.one_of(
    st.one_of(proper, st.lists(entry, max_size=SHOWN + 1)).map(to_json),
    proper.map(lambda entries: json.dumps({"ratings": entries}, indent=1)),
    proper.map(lambda entries: to_json(entries).replace(": ", ":0")),
    proper.map(lambda entries: to_json(entries) + "!"),
    proper.map(lambda entries: f"```json\n{to_json(entries)}\n```"),
    proper.map(lambda entries: to_json(entries).replace('"candidate"', '"rating": 1, "candidate"')),
    proper.map(lambda entries: to_json(entries).replace("1", "1٢")),
    st.text(max_size=40),
)


@given(st.lists(responses, max_size=6))
def test_parsing_in_columns_equals_parsing_one_by_one(texts: list[str]) -> None:
    frame = pl.DataFrame(
        {"request": range(len(texts)), "shown": [SHOWN] * len(texts), "text": texts},
        schema={"request": pl.UInt32, "shown": pl.Int32, "text": pl.String},
    )
    found: dict[int, dict[int, int]] = {}
    for request, position, rating in parse_exact(frame, SCALE).iter_rows():
        found.setdefault(request, {})[position - 1] = rating
    for number, text in enumerate(texts):
        if number in found:
            assert read_ratings(text, SHOWN, SCALE) == found[number]
        else:
            assert text not in PROPER


def make_stored(number: int, response: str) -> Response:
    body = {"model": "judge", "messages": [{"role": "user", "content": str(number)}]}
    request = Request(f"c{number}", "here", body)
    return make_response(request, response, NO_USAGE, 0.0, run="r", stage="reflect")


def store_response(store: Store, number: int, response: str) -> str:
    stored = make_stored(number, response)
    ResponseStore(store).add([stored])
    return stored.key


def response(text: object) -> str:
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]})


GOOD = to_json([{"candidate": 2, "rating": -1}, {"candidate": 1, "rating": 2}])
OTHER = to_json([{"candidate": 2, "rating": 0}, {"candidate": 1, "rating": 0}])


@pytest.mark.parametrize(
    ("raw", "ratings", "reason"),
    [
        (response(GOOD), {1: 2, 2: -1}, ""),
        (response(f"\n{GOOD} "), {1: 2, 2: -1}, ""),
        # A JSON parser takes the last of two equal names.
        (response(OTHER)[:-1] + ", " + response(GOOD)[1:], {1: 2, 2: -1}, ""),
        (response(GOOD.replace("-1", "-0")), {1: 2, 2: 0}, ""),
        (response(GOOD.replace("-1", "-01")), {}, 'it is not a JSON object with "ratings"'),
        (response(GOOD.replace("1}", "1٢}")), {}, 'it is not a JSON object with "ratings"'),
        (response(GOOD.replace("2,", "1,")), {}, "candidate 1 is rated twice"),
        (response(GOOD.replace("-1", "99999999999")), {}, "rating 99999999999 is not between"),
        (response("\ud800 no"), {}, 'it is not a JSON object with "ratings"'),
        (response(None), {}, "no text: empty content"),
    ],
)
def test_a_response_has_ratings_or_a_reason(
    store: Store, raw: str, ratings: dict[int, int], reason: str
) -> None:
    requests = pl.DataFrame(
        {"request_key": [store_response(store, 0, raw), "none"], "shown": [2, 2]}
    )
    parsed = parse_first_responses(requests, store, SCALE)
    assert {p: r for _, p, r in parsed.ratings.iter_rows()} == ratings
    assert parsed.responses == 1
    assert [each.reason[: len(reason)] for each in parsed.unusable.values()] == [reason] * bool(
        reason
    )
    asks_again = bool(reason) and not reason.startswith("no text")
    assert len(parsed.repairs()) == asks_again


def test_requests_in_another_order_are_not_parsed_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [response(GOOD), response("no"), response(OTHER), response(GOOD.replace("2,", "1,"))]
    keys = [store_response(store, number, raw) for number, raw in enumerate(answers)]
    requests = pl.DataFrame({"request_key": keys, "shown": [2] * len(keys)})
    first = parse_first_responses(requests, store, SCALE)
    monkeypatch.setattr(parse, "_parse_responses", None)
    turned = parse_first_responses(requests.reverse(), store, SCALE)
    last = len(keys) - 1
    assert first.ratings["request"].unique().sort().to_list() == [0, 2]
    mirrored = turned.ratings.with_columns(request=last - pl.col("request"))
    order = ["request", "position"]
    assert mirrored.sort(order).equals(first.ratings.sort(order))
    assert list(turned.unusable) == [0, 2]
    assert {last - number: each for number, each in turned.unusable.items()} == first.unusable


def test_a_digest_changes_with_the_stored_responses(store: Store) -> None:
    keys = [make_stored(number, "").key for number in range(2)]
    requests = pl.DataFrame({"request_key": keys, "shown": [2, 2]})
    digests = {requests_digest(requests, store)}
    for number, raw in enumerate([response(GOOD), response(OTHER)]):
        store_response(store, number, raw)
        digests.add(requests_digest(requests, store))
        assert requests_digest(requests, store) in digests
    digests.add(requests_digest(requests.reverse(), store))
    assert len(digests) == 4


def parse_one(store: Store, raw: str) -> ParsedRatings:
    key = store_response(store, 0, raw)
    requests = pl.DataFrame({"request_key": [key], "shown": [2]})
    return parse_first_responses(requests, store, SCALE)


def message(content: object, finish: str = "stop", **fields: object) -> str:
    choice = {"message": {"content": content, **fields}, "finish_reason": finish}
    return json.dumps({"choices": [choice]})


REREAD = {
    "a fence": message(f"```json\n{GOOD}\n```"),
    "a thought": message(f"<think>{OTHER}</think>{GOOD}"),
    "parts": message([{"type": "text", "text": GOOD}]),
    "a tool call": message(None, tool_calls=[{"function": {"arguments": GOOD}}]),
    "numbers": message("[2, -1]"),
    "a cut answer": message(f"Sure: {GOOD}", "length"),
}


@pytest.mark.parametrize("raw", REREAD.values(), ids=REREAD)
def test_a_wrapped_response_is_read_and_counted(store: Store, raw: str) -> None:
    parsed = parse_one(store, raw)
    assert {p: r for _, p, r in parsed.ratings.iter_rows()} == {1: 2, 2: -1}
    assert (parsed.reread, parsed.unusable) == (1, {})


@pytest.mark.parametrize("finish", ["stop", "length", "eos"])
def test_a_plain_response_is_not_counted_as_reread(store: Store, finish: str) -> None:
    parsed = parse_one(store, message(GOOD, finish))
    assert (parsed.ratings.height, parsed.reread) == (2, 0)


def test_ratings_that_a_filter_stopped_are_a_final_failure(store: Store) -> None:
    parsed = parse_one(store, message(GOOD, "content_filter"))
    (failure,) = parsed.unusable.values()
    assert (failure.reason, failure.final, failure.repair) == (FILTERED, True, None)
    assert parsed.reread == 1


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (f"```json\n{GOOD.replace('-1', '5')}\n```", 'it is not a JSON object with "ratings"'),
        (f"<think>{GOOD}", 'it is not a JSON object with "ratings"'),
        (GOOD.replace("-1", "5"), "rating 5 is not between -2 and 2"),
        (GOOD[:40], 'it is not a JSON object with "ratings"'),
    ],
)
def test_what_stays_unusable_has_the_repair_that_it_had(
    store: Store, content: str, problem: str
) -> None:
    parsed = parse_one(store, message(content))
    (repair,) = parsed.repairs()
    assert repair.body["messages"][1:3] == [
        {"role": "assistant", "content": content},
        {
            "role": "user",
            "content": f"That answer cannot be used: {problem}. Answer again, with nothing but the "
            "JSON object that the schema describes, one entry for every candidate.",
        },
    ]
    assert parsed.reread == 0


def test_a_repair_in_a_fence_is_read(store: Store) -> None:
    key = store_response(store, 0, message("no"))
    requests = pl.DataFrame({"request_key": [key], "shown": [2]})
    (repair,) = parse_first_responses(requests, store, SCALE).repairs()
    raw = message(f"```\n{GOOD}\n```")
    ResponseStore(store).add([make_response(repair, raw, NO_USAGE, 0.0, run="r", stage="reflect")])
    parsed = parse_ratings(requests, store, SCALE)
    assert (parsed.ratings.height, parsed.unusable, parsed.reread) == (2, {}, 1)


def test_parsing_recovers_the_spool_of_a_dead_process(store: Store) -> None:
    stored = make_stored(0, response(GOOD))
    dead_spool(store, stored)
    requests = pl.DataFrame({"request_key": [stored.key], "shown": [2]})
    assert parse_first_responses(requests, store, SCALE).ratings.height == 2
