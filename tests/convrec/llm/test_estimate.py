from __future__ import annotations

import json

import pytest
from starlette.responses import JSONResponse

from convrec.artifacts import Store
from convrec.config import Config
from convrec.llm.budget import max_usage
from convrec.llm.estimate import CostEstimate, estimate_cost
from convrec.llm.fetch import fetch
from convrec.llm.prices import Usage, cost, price_of
from convrec.llm.requests import Request, route
from convrec.llm.response import make_response
from convrec.llm.response_store import ResponseStore
from tests.support.llm_endpoint import Endpoint, completion, config, make_request


def long_request(number: int) -> Request:
    text = f"{number} " + "I liked Heat and Ronin and want more like them. " * (1 + number % 7)
    return make_request(text, max_tokens=300)


def reply(body: dict[str, object]) -> JSONResponse:
    size = len(str(body["messages"]))
    return JSONResponse(completion(prompt=10 + size // 4, output=100 + size % 40))


def test_estimates_contain_the_bill_and_narrow_with_experience(
    store: Store, endpoint: Endpoint
) -> None:
    endpoint.reply = reply
    first, rest = [long_request(n) for n in range(40)], [long_request(n) for n in range(40, 160)]
    settings = config(endpoint)
    before = estimate_cost(first, config=settings, store=store)
    bill = fetch(first, config=settings, store=store, stage="recommend").usd
    assert before.usd_low <= bill <= before.usd_high
    after = estimate_cost(rest, config=settings, store=store, stage="recommend")
    bill = fetch(rest, config=settings, store=store, stage="recommend").usd
    assert after.usd_low <= bill <= after.usd_high
    assert 0.9 * bill <= after.usd_low
    assert after.usd_high <= 1.1 * bill


def test_nothing_to_send_costs_nothing(store: Store) -> None:
    assert estimate_cost([], config=Config(), store=store) == CostEstimate()


def test_a_repeat_is_counted_once(store: Store) -> None:
    once = estimate_cost([long_request(1)], config=Config(), store=store)
    assert estimate_cost([long_request(1), long_request(1)], config=Config(), store=store) == once


def test_past_responses_of_another_stage_do_not_count(store: Store, endpoint: Endpoint) -> None:
    requests = [long_request(n) for n in range(30)]
    fetch(requests, config=config(endpoint), store=store, stage="recommend")
    wide = estimate_cost([long_request(99)], config=Config(), store=store, stage="reflect")
    close = estimate_cost([long_request(99)], config=Config(), store=store, stage="recommend")
    assert wide.usd_low < close.usd_low < close.usd_high < wide.usd_high


def test_empty_responses_measure_nothing_for_another_model(store: Store) -> None:
    """Reasoning models return empty responses if max_tokens is too low."""
    empty = json.dumps({"choices": [{"message": {"role": "assistant", "content": ""}}]})
    ResponseStore(store).add(
        [
            make_response(
                long_request(n), empty, Usage(90, 0, 300), 0.0, run="r", stage="recommend"
            )
            for n in range(30)
        ]
    )
    other = make_request("crime please", model="gpt-4o-mini")
    other_store = Store(store.home / "other", ("", ""))
    with_empty, without = (
        estimate_cost([other], config=Config(), store=where, expected_bytes=lambda body: 500.0)
        for where in (store, other_store)
    )
    assert with_empty == without


def test_the_maximum_cost_counts_all_completions() -> None:
    price = price_of("demo-teacher", Config())
    one, two = (cost(price, max_usage(make_request(1, **more).body)) for more in ({}, {"n": 2}))
    assert two - one == pytest.approx(50 * 0.60 / 1e6)
    unbounded = {"model": "demo-teacher", "messages": [{"role": "user", "content": "hi"}]}
    assert cost(price, max_usage(unbounded)) > 4000 * 0.60 / 1e6


def test_embeddings_cost_their_input() -> None:
    body = {"model": "text-embedding-3-small", "input": ["a crime film" * 50, "é"]}
    price = price_of("text-embedding-3-small", Config())
    assert (price.input, price.output) == (0.02, 0.0)
    assert max_usage(body).completion == 0
    assert cost(price, max_usage(body)) >= (602 / 4) * 0.02 / 1e6
    assert route(body) == "/embeddings"


def test_embedding_estimates_need_no_experience(store: Store) -> None:
    body = {"model": "text-embedding-3-small", "input": ["a crime film please. " * 40] * 100}
    cost_range = estimate_cost([Request("", "test", body)], config=Config(), store=store)
    tokens = 84_000 / 3.9
    assert cost_range.prompt_tokens == pytest.approx(tokens)
    assert (
        cost_range.usd_low < tokens * 0.02 / 1e6 < cost_range.usd_high < 1.1 * tokens * 0.02 / 1e6
    )
