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
from convrec.llm.requests import Request
from convrec.llm.response import make_response
from convrec.llm.response_store import ResponseStore
from tests.support.llm_endpoint import Endpoint, completion, config, make_request


def talk(number: int) -> Request:
    text = f"{number} " + "I liked Heat and Ronin and want more like them. " * (1 + number % 7)
    return make_request(text, max_tokens=300)


def reply(body: dict[str, object]) -> JSONResponse:
    size = len(str(body["messages"]))
    return JSONResponse(completion(prompt=10 + size // 4, output=100 + size % 40))


def test_without_experience_the_bracket_holds_the_bill_and_afterwards_it_is_close(
    store: Store, endpoint: Endpoint
) -> None:
    endpoint.reply = reply
    first, rest = [talk(n) for n in range(40)], [talk(n) for n in range(40, 160)]
    plan = config(endpoint)
    before = estimate_cost(first, config=plan, store=store)
    bill = fetch(first, config=plan, store=store, stage="recommend").usd
    assert before.usd_low <= bill <= before.usd_high
    after = estimate_cost(rest, config=plan, store=store, stage="recommend")
    bill = fetch(rest, config=plan, store=store, stage="recommend").usd
    assert after.usd_low <= bill <= after.usd_high
    assert 0.9 * bill <= after.usd_low
    assert after.usd_high <= 1.1 * bill


def test_nothing_to_send_costs_nothing(store: Store) -> None:
    assert estimate_cost([], config=Config(), store=store) == CostEstimate()


def test_a_repeat_is_counted_once(store: Store) -> None:
    once = estimate_cost([talk(1)], config=Config(), store=store)
    assert estimate_cost([talk(1), talk(1)], config=Config(), store=store) == once


def test_experience_of_another_stage_says_nothing(store: Store, endpoint: Endpoint) -> None:
    requests = [talk(n) for n in range(30)]
    fetch(requests, config=config(endpoint), store=store, stage="recommend")
    wide = estimate_cost([talk(99)], config=Config(), store=store, stage="reflect")
    close = estimate_cost([talk(99)], config=Config(), store=store, stage="recommend")
    assert wide.usd_low < close.usd_low < close.usd_high < wide.usd_high


def test_answers_that_say_nothing_are_no_measure_for_another_model(store: Store) -> None:
    """As a model that reasons gives them where max_tokens is too low."""
    silent = json.dumps({"choices": [{"message": {"role": "assistant", "content": ""}}]})
    ResponseStore(store).add(
        [
            make_response(talk(n), silent, Usage(90, 0, 300), 0.0, run="r", stage="recommend")
            for n in range(30)
        ]
    )
    other = make_request("crime please", model="gpt-4o-mini")
    fresh = Store(store.home / "other", ("", ""))
    told, untold = (
        estimate_cost([other], config=Config(), store=where, answer_bytes=lambda body: 500.0)
        for where in (store, fresh)
    )
    assert told == untold


def test_the_bound_of_one_request_counts_all_that_it_asks_for() -> None:
    price = price_of("demo-teacher", Config())
    one, two = (cost(price, max_usage(make_request(1, **more).body)) for more in ({}, {"n": 2}))
    assert two - one == pytest.approx(50 * 0.60 / 1e6)
    unbounded = {"model": "demo-teacher", "messages": [{"role": "user", "content": "hi"}]}
    assert cost(price, max_usage(unbounded)) > 4000 * 0.60 / 1e6


def test_embeddings_cost_what_is_read() -> None:
    body = {"model": "text-embedding-3-small", "input": ["a crime film" * 50, "é"]}
    price = price_of("text-embedding-3-small", Config())
    assert (price.input, price.output) == (0.02, 0.0)
    assert max_usage(body).completion == 0
    assert cost(price, max_usage(body)) >= (602 / 4) * 0.02 / 1e6
    assert Request("", "test", body).route == "/embeddings"


def test_a_bill_for_embeddings_is_bracketed_without_experience(store: Store) -> None:
    body = {"model": "text-embedding-3-small", "input": ["a crime film please. " * 40] * 100}
    bracket = estimate_cost([Request("", "test", body)], config=Config(), store=store)
    tokens = 84_000 / 3.9
    assert bracket.prompt_tokens == pytest.approx(tokens)
    assert bracket.usd_low < tokens * 0.02 / 1e6 < bracket.usd_high < 1.1 * tokens * 0.02 / 1e6
