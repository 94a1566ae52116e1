"""Failures of the endpoint: what is retried, what stops a run, and the messages."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from convrec.artifacts import Store
from convrec.errors import (
    EndpointError,
    TooManyFailures,
)
from convrec.llm.fetch import fetch
from convrec.llm.ledger import ledger_rows
from convrec.llm.outcome import retry_after_seconds
from convrec.llm.response_store import ResponseStore
from tests.support.llm_endpoint import (
    Endpoint,
    by_text,
    completion,
    config,
    first_then_fine,
    make_request,
    refusal,
)


@pytest.mark.parametrize(
    "reply",
    [
        lambda: refusal(429, "rate_limit_exceeded", headers={"retry-after-ms": "20"}),
        lambda: refusal(500),
        lambda: refusal(408),
        lambda: Response("<html>bad gateway</html>", media_type="text/html"),
        lambda: Response('{"choices": [{"mess', media_type="application/json"),
        lambda: JSONResponse({"choices": []}),
        lambda: Response(b"{", headers={"content-length": "900"}, media_type="application/json"),
    ],
    ids=["429", "500", "408", "garbage", "truncated", "no-choices", "dropped"],
)
def test_transient_failures_are_retried(store: Store, endpoint: Endpoint, reply: Any) -> None:
    endpoint.reply = first_then_fine(reply)
    fetched = fetch(
        [make_request(n) for n in range(6)], config=config(endpoint), store=store, stage="recommend"
    )
    assert (fetched.sent, fetched.failures) == (6, {})
    assert set(endpoint.counts.values()) == {2}


def test_a_response_without_choices_is_billed(store: Store, endpoint: Endpoint) -> None:
    endpoint.reply = first_then_fine(lambda: JSONResponse({**completion(), "choices": []}))
    fetched = fetch(
        [make_request(1)], config=config(endpoint), store=store, stage="recommend", run="r"
    )
    assert fetched.prompt_tokens == 200
    assert ledger_rows(store)[0]["prompt_tokens"] == 200


def test_a_timeout_is_retried(store: Store, endpoint: Endpoint) -> None:
    endpoint.latency = 5
    limits = config(endpoint, timeout=0.2, max_attempts=2, max_failures=1)
    fetched = fetch([make_request(1)], config=limits, store=store, stage="recommend")
    assert fetched.failures == {make_request(1).key: "no answer within 0.2 s (2 attempts)"}


def test_retry_after_is_honored(store: Store, endpoint: Endpoint) -> None:
    endpoint.reply = first_then_fine(lambda: refusal(429, headers={"retry-after": "1"}))
    before = time.monotonic()
    fetch([make_request(1)], config=config(endpoint), store=store, stage="recommend")
    assert time.monotonic() - before >= 1


def test_retry_after_has_three_formats() -> None:
    assert retry_after_seconds({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert retry_after_seconds({"retry-after": "9"}) == 9
    assert (
        25 < retry_after_seconds({"retry-after": formatdate(time.time() + 30, usegmt=True)}) <= 30
    )
    assert retry_after_seconds({"retry-after": "soon"}) == 0
    assert retry_after_seconds({}) == 0


def test_retries_do_not_delay_new_requests(store: Store, endpoint: Endpoint) -> None:
    slow = first_then_fine(lambda: refusal(503, headers={"retry-after-ms": "600"}))
    endpoint.reply = lambda body: (
        slow(body) if body["messages"][-1]["content"] == "post 0" else JSONResponse(completion())
    )
    fetch(
        [make_request(n) for n in range(20)],
        config=config(endpoint, max_concurrency=1),
        store=store,
        stage="recommend",
    )
    retried_at = endpoint.seen.index("post 0", 1)
    assert endpoint.seen[0] == "post 0"
    assert retried_at > 3
    assert len(endpoint.seen) == 21


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (refusal(401, "invalid_api_key"), "OPENAI_API_KEY"),
        (refusal(403), "does not allow"),
        (refusal(404, "model_not_found"), "recommend.model"),
        (refusal(404), "llm.base_url"),
        (refusal(429, "insufficient_quota"), "quota"),
        (refusal(429, headers={"retry-after": "86400"}), "pause of 24 h 00 min.*run again"),
        (refusal(400, "unsupported_value", param="temperature"), "'temperature'"),
    ],
)
def test_terminal_failures_stop_at_once(
    store: Store, endpoint: Endpoint, reply: Response, words: str
) -> None:
    endpoint.reply = lambda body: reply
    with pytest.raises(EndpointError, match=words) as caught:
        fetch(
            [make_request(n) for n in range(200)],
            config=config(endpoint, max_concurrency=4),
            store=store,
            stage="recommend",
        )
    assert endpoint.url in str(caught.value)
    assert len(endpoint.seen) <= 8


def test_responses_before_a_terminal_failure_are_stored(store: Store, endpoint: Endpoint) -> None:
    endpoint.reply = by_text({"post 5": refusal(401)})
    requests = [make_request(n) for n in range(10)]
    with pytest.raises(EndpointError):
        fetch(requests, config=config(endpoint, max_concurrency=1), store=store, stage="recommend")
    kept = ResponseStore(store).digests([r.key for r in requests])
    assert set(kept) == {r.key for r in requests[:5]}


def test_one_failed_conversation_does_not_stop_the_others(store: Store, endpoint: Endpoint) -> None:
    endpoint.reply = by_text(
        {"post 3": refusal(400, "context_length_exceeded"), "post 4": refusal(400, "odd_words")}
    )
    requests = [make_request(n) for n in range(50)]
    fetched = fetch(requests, config=config(endpoint), store=store, stage="recommend")
    assert fetched.sent == 50
    assert set(fetched.failures) == {requests[3].key, requests[4].key}
    assert "too long" in fetched.failures[requests[3].key]
    assert len(ResponseStore(store).digests([r.key for r in requests])) == 48
    assert endpoint.counts["post 3"] == 1


def test_a_refusal_of_every_request_stops_the_run(store: Store, endpoint: Endpoint) -> None:
    endpoint.reply = lambda body: refusal(400, "odd", "these words are not for me")
    with pytest.raises(EndpointError, match="refused the first 10"):
        fetch(
            [make_request(n) for n in range(300)],
            config=config(endpoint),
            store=store,
            stage="recommend",
        )
    assert len(endpoint.seen) < 30


def test_too_many_failures_are_summarized(store: Store, endpoint: Endpoint) -> None:
    bad = {f"post {n}": refusal(500) for n in range(4)}
    endpoint.reply = by_text(bad)
    requests = [make_request(n) for n in range(40)]
    limits = config(endpoint, max_attempts=2)
    with pytest.raises(
        TooManyFailures, match=r"4 of 40 requests of recommend failed \(10.0%"
    ) as caught:
        fetch(requests, config=limits, store=store, stage="recommend")
    assert [owner for owner, _ in caught.value.rows] == [r.owner for r in requests[:4]]
    assert all("HTTP 500" in reason for _, reason in caught.value.rows)
    assert len(ResponseStore(store).digests([r.key for r in requests])) == 36
    assert all(endpoint.counts[text] == 2 for text in bad)


def test_an_endpoint_that_disappears_stops_the_run(store: Store, endpoint: Endpoint) -> None:
    endpoint.reply = lambda body: (
        JSONResponse(completion()) if len(endpoint.seen) < 10 else refusal(503)
    )
    with pytest.raises(EndpointError, match="failed 16 times in a row"):
        fetch(
            [make_request(n) for n in range(500)],
            config=config(endpoint, max_attempts=2, max_concurrency=2),
            store=store,
            stage="recommend",
        )
    assert len(endpoint.seen) < 40


def test_the_error_names_an_unreachable_endpoint(store: Store) -> None:
    with pytest.raises(EndpointError, match=r"127\.0\.0\.1:1/v1 cannot be reached.*llm\.base_url"):
        fetch(
            [make_request(n) for n in range(500)],
            config=config("http://127.0.0.1:1/v1"),
            store=store,
            stage="recommend",
        )
