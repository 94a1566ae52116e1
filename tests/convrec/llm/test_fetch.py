"""Fetching responses from the store or the endpoint, within limits and budget."""

from __future__ import annotations

import asyncio
import threading

import pytest
from starlette.responses import JSONResponse

from convrec.artifacts import Store
from convrec.errors import (
    BudgetExceeded,
    ConfigError,
)
from convrec.llm.fetch import fetch
from convrec.llm.ledger import ledger_rows, spent_usd
from convrec.llm.response_store import ResponseStore
from tests.support.llm_endpoint import Endpoint, completion, config, make_request


def test_a_second_fetch_sends_nothing(store: Store, endpoint: Endpoint) -> None:
    requests = [make_request(n) for n in range(20)]
    first = fetch(requests, config=config(endpoint), store=store, stage="recommend", run="a")
    second = fetch(requests, config=config(endpoint), store=store, stage="recommend", run="b")
    assert (first.requests, first.from_ledger, first.sent) == (20, 0, 20)
    assert (first.prompt_tokens, first.completion_tokens) == (2000, 1000)
    assert first.usd == pytest.approx(20 * (100 * 0.15 + 50 * 0.60) / 1e6)
    assert (second.requests, second.from_ledger, second.sent, second.usd) == (20, 20, 0, 0.0)
    assert len(endpoint.seen) == 20


def test_requests_with_one_key_are_bought_once(store: Store, endpoint: Endpoint) -> None:
    fetched = fetch([make_request(1)] * 5, config=config(endpoint), store=store, stage="recommend")
    assert (fetched.requests, fetched.sent) == (1, 1)
    assert endpoint.seen == ["post 1"]


def test_a_new_port_buys_nothing_again(store: Store, endpoint: Endpoint) -> None:
    fetch([make_request(1)], config=config(endpoint), store=store, stage="recommend")
    moved = config("http://127.0.0.1:1/v1")
    assert fetch([make_request(1)], config=moved, store=store, stage="recommend").sent == 0


def test_concurrency_is_bounded(store: Store, endpoint: Endpoint) -> None:
    endpoint.latency = 0.02
    fetch(
        [make_request(n) for n in range(30)],
        config=config(endpoint, max_concurrency=3),
        store=store,
        stage="recommend",
    )
    assert endpoint.max_in_flight == 3


def test_an_unknown_price_is_an_error_before_sending(store: Store, endpoint: Endpoint) -> None:
    with pytest.raises(ConfigError, match=r"llm\.prices"):
        fetch(
            [make_request(1, model="mine.v2")],
            config=config(endpoint),
            store=store,
            stage="recommend",
        )
    assert endpoint.seen == []


def test_the_budget_stops_before_it_could_be_exceeded(store: Store, endpoint: Endpoint) -> None:
    one = (100 * 0.15 + 50 * 0.60) / 1e6
    limit = 10.5 * one
    requests = [make_request(n) for n in range(40)]
    with pytest.raises(BudgetExceeded, match=r"llm\.max_usd"):
        fetch(
            requests,
            config=config(endpoint, max_usd=limit),
            store=store,
            stage="recommend",
            run="r",
        )
    assert 8 * one <= spent_usd(store, "r") <= limit
    assert len(ResponseStore(store).digests([r.key for r in requests])) == len(endpoint.seen)
    rest = fetch(requests, config=config(endpoint), store=store, stage="recommend", run="r")
    assert rest.sent == 40 - rest.from_ledger
    assert set(endpoint.counts.values()) == {1}


def test_earlier_spending_of_the_run_counts(store: Store, endpoint: Endpoint) -> None:
    with pytest.raises(BudgetExceeded):
        fetch(
            [make_request(1)],
            config=config(endpoint, max_usd=1.0),
            store=store,
            stage="reflect",
            spent_usd=1.0,
        )
    assert endpoint.seen == []


def test_the_ledger_has_a_row_per_run_stage_and_model(store: Store, endpoint: Endpoint) -> None:
    fetch(
        [make_request(1), make_request(2)],
        config=config(endpoint),
        store=store,
        stage="recommend",
        run="r",
    )
    endpoint.reply = lambda body: JSONResponse(
        {
            **completion(),
            "usage": {
                "prompt_tokens": 1000,
                "completion_tokens": 10,
                "prompt_tokens_details": {"cached_tokens": 600},
                "completion_tokens_details": {"reasoning_tokens": 8},
            },
        }
    )
    requests = [make_request(3, model="gpt-4o-mini")]
    fetch(requests, config=config(endpoint), store=store, stage="reflect", run="r")
    first, second = ledger_rows(store)
    assert (first["run"], first["stage"], first["model"]) == ("r", "recommend", "demo-teacher")
    assert (first["requests"], first["prompt_tokens"], first["completion_tokens"]) == (2, 200, 100)
    assert first["usd"] == pytest.approx(90e-6)
    assert (second["cached_tokens"], second["reasoning_tokens"]) == (600, 8)
    assert second["model"] == "gpt-4o-mini"
    assert second["usd"] == pytest.approx((400 * 0.15 + 600 * 0.075 + 10 * 0.60) / 1e6)


def test_a_caller_with_an_event_loop_can_fetch(store: Store, endpoint: Endpoint) -> None:
    async def main() -> int:
        return fetch(
            [make_request(1)], config=config(endpoint), store=store, stage="recommend"
        ).sent

    assert asyncio.run(main()) == 1


def test_progress_ends_complete_and_in_the_calling_thread(store: Store, endpoint: Endpoint) -> None:
    calls: list[tuple[int, int, threading.Thread]] = []
    fetch(
        [make_request(n) for n in range(10)],
        config=config(endpoint),
        store=store,
        stage="recommend",
        progress=lambda done, total, text: calls.append((done, total, threading.current_thread())),
    )
    assert calls[0][:2] == (0, 10)
    assert calls[-1][:2] == (10, 10)
    assert {thread for _, _, thread in calls} == {threading.current_thread()}
