from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from convrec.artifacts import Store
from convrec.errors import (
    BudgetExceeded,
    ConfigError,
    ConvrecError,
    EndpointError,
    TooManyFailures,
)
from convrec.llm.answers import AnswerStore
from convrec.llm.calls import retry_after
from convrec.llm.fetch import fetch
from convrec.llm.ledger import ledger_rows, spent
from convrec.llm.spool import Spool

from .conftest import Endpoint, ask, completion, config, refusal, wait_for
from .test_answers import ANSWER, unknown

KEY = "sk-planted-0123456789abcdef"


def by_text(replies: dict[str, Response]) -> Any:
    """Each of these texts gets its reply, everything else a completion."""
    return lambda body: replies.get(body["messages"][-1]["content"]) or JSONResponse(completion())


def first_then_fine(reply: Any) -> Any:
    """Each text's first attempt meets `reply`, later ones a completion."""
    met: set[str] = set()

    def answer(body: dict[str, Any]) -> Response:
        text = body["messages"][-1]["content"]
        if text in met:
            return JSONResponse(completion())
        met.add(text)
        return reply()

    return answer


def test_a_second_fetch_sends_nothing(store: Store, endpoint: Endpoint) -> None:
    requests = [ask(n) for n in range(20)]
    first = fetch(requests, config=config(endpoint), store=store, stage="recommend", run="a")
    second = fetch(requests, config=config(endpoint), store=store, stage="recommend", run="b")
    assert (first.requests, first.from_ledger, first.sent) == (20, 0, 20)
    assert (first.prompt_tokens, first.completion_tokens) == (2000, 1000)
    assert first.usd == pytest.approx(20 * (100 * 0.15 + 50 * 0.60) / 1e6)
    assert (second.requests, second.from_ledger, second.sent, second.usd) == (20, 20, 0, 0.0)
    assert len(endpoint.seen) == 20


def test_requests_with_one_key_are_bought_once(store: Store, endpoint: Endpoint) -> None:
    fetched = fetch([ask(1)] * 5, config=config(endpoint), store=store, stage="recommend")
    assert (fetched.requests, fetched.sent) == (1, 1)
    assert endpoint.seen == ["post 1"]


def test_a_new_port_buys_nothing_again(store: Store, endpoint: Endpoint) -> None:
    fetch([ask(1)], config=config(endpoint), store=store, stage="recommend")
    moved = config("http://127.0.0.1:1/v1")
    assert fetch([ask(1)], config=moved, store=store, stage="recommend").sent == 0


def test_concurrency_is_bounded(store: Store, endpoint: Endpoint) -> None:
    endpoint.latency = 0.02
    fetch(
        [ask(n) for n in range(30)],
        config=config(endpoint, max_concurrency=3),
        store=store,
        stage="recommend",
    )
    assert endpoint.most_in_flight == 3


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
def test_transient_trouble_is_retried(store: Store, endpoint: Endpoint, reply: Any) -> None:
    endpoint.reply = first_then_fine(reply)
    fetched = fetch(
        [ask(n) for n in range(6)], config=config(endpoint), store=store, stage="recommend"
    )
    assert (fetched.sent, fetched.failures) == (6, {})
    assert set(endpoint.counts.values()) == {2}


def test_a_response_without_choices_is_billed_all_the_same(
    store: Store, endpoint: Endpoint
) -> None:
    endpoint.reply = first_then_fine(lambda: JSONResponse({**completion(), "choices": []}))
    fetched = fetch([ask(1)], config=config(endpoint), store=store, stage="recommend", run="r")
    assert fetched.prompt_tokens == 200
    assert ledger_rows(store)[0]["prompt_tokens"] == 200


def test_a_slow_answer_is_asked_for_again(store: Store, endpoint: Endpoint) -> None:
    endpoint.latency = 5
    limits = config(endpoint, timeout=0.2, max_attempts=2, max_failures=1)
    fetched = fetch([ask(1)], config=limits, store=store, stage="recommend")
    assert fetched.failures == {ask(1).key: "no answer within 0.2 s (2 attempts)"}


def test_retry_after_is_honoured(store: Store, endpoint: Endpoint) -> None:
    endpoint.reply = first_then_fine(lambda: refusal(429, headers={"retry-after": "1"}))
    before = time.monotonic()
    fetch([ask(1)], config=config(endpoint), store=store, stage="recommend")
    assert time.monotonic() - before >= 1


def test_retry_after_has_three_forms() -> None:
    assert retry_after({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert retry_after({"retry-after": "9"}) == 9
    assert 25 < retry_after({"retry-after": formatdate(time.time() + 30, usegmt=True)}) <= 30
    assert retry_after({"retry-after": "soon"}) == 0
    assert retry_after({}) == 0


def test_retries_do_not_hold_up_fresh_requests(store: Store, endpoint: Endpoint) -> None:
    slow = first_then_fine(lambda: refusal(503, headers={"retry-after-ms": "600"}))
    endpoint.reply = lambda body: (
        slow(body) if body["messages"][-1]["content"] == "post 0" else JSONResponse(completion())
    )
    fetch(
        [ask(n) for n in range(20)],
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
        (refusal(400, "unsupported_value", param="temperature"), "'temperature'"),
    ],
)
def test_terminal_trouble_stops_at_once(
    store: Store, endpoint: Endpoint, reply: Response, words: str
) -> None:
    endpoint.reply = lambda body: reply
    with pytest.raises(EndpointError, match=words) as caught:
        fetch(
            [ask(n) for n in range(200)],
            config=config(endpoint, max_concurrency=4),
            store=store,
            stage="recommend",
        )
    assert endpoint.url in str(caught.value)
    assert len(endpoint.seen) <= 8


def test_what_came_before_a_terminal_error_is_kept(store: Store, endpoint: Endpoint) -> None:
    endpoint.reply = by_text({"post 5": refusal(401)})
    requests = [ask(n) for n in range(10)]
    with pytest.raises(EndpointError):
        fetch(requests, config=config(endpoint, max_concurrency=1), store=store, stage="recommend")
    kept = AnswerStore(store).digests([r.key for r in requests])
    assert set(kept) == {r.key for r in requests[:5]}


def test_one_bad_conversation_is_recorded_and_the_rest_go_on(
    store: Store, endpoint: Endpoint
) -> None:
    endpoint.reply = by_text(
        {"post 3": refusal(400, "context_length_exceeded"), "post 4": refusal(400, "odd_words")}
    )
    requests = [ask(n) for n in range(50)]
    fetched = fetch(requests, config=config(endpoint), store=store, stage="recommend")
    assert fetched.sent == 50
    assert set(fetched.failures) == {requests[3].key, requests[4].key}
    assert "too long" in fetched.failures[requests[3].key]
    assert len(AnswerStore(store).digests([r.key for r in requests])) == 48
    assert endpoint.counts["post 3"] == 1


def test_a_refusal_that_meets_everyone_stops(store: Store, endpoint: Endpoint) -> None:
    endpoint.reply = lambda body: refusal(400, "odd", "these words are not for me")
    with pytest.raises(EndpointError, match="refused the first 10"):
        fetch([ask(n) for n in range(300)], config=config(endpoint), store=store, stage="recommend")
    assert len(endpoint.seen) < 30


def test_too_many_failures_are_summed_up_after_the_rest_is_stored(
    store: Store, endpoint: Endpoint
) -> None:
    bad = {f"post {n}": refusal(500) for n in range(4)}
    endpoint.reply = by_text(bad)
    requests = [ask(n) for n in range(40)]
    limits = config(endpoint, max_attempts=2)
    with pytest.raises(
        TooManyFailures, match=r"4 of 40 requests of recommend failed \(10.0%"
    ) as caught:
        fetch(requests, config=limits, store=store, stage="recommend")
    assert [owner for owner, _ in caught.value.rows] == [r.owner for r in requests[:4]]
    assert all("HTTP 500" in reason for _, reason in caught.value.rows)
    assert len(AnswerStore(store).digests([r.key for r in requests])) == 36
    assert all(endpoint.counts[text] == 2 for text in bad)


def test_an_endpoint_that_goes_away_stops_the_run(store: Store, endpoint: Endpoint) -> None:
    endpoint.reply = lambda body: (
        JSONResponse(completion()) if len(endpoint.seen) < 10 else refusal(503)
    )
    with pytest.raises(EndpointError, match="failed 16 times in a row"):
        fetch(
            [ask(n) for n in range(500)],
            config=config(endpoint, max_attempts=2, max_concurrency=2),
            store=store,
            stage="recommend",
        )
    assert len(endpoint.seen) < 40


def test_an_unreachable_endpoint_is_named(store: Store) -> None:
    with pytest.raises(EndpointError, match=r"127\.0\.0\.1:1/v1 cannot be reached.*llm\.base_url"):
        fetch(
            [ask(n) for n in range(500)],
            config=config("http://127.0.0.1:1/v1"),
            store=store,
            stage="recommend",
        )


def test_an_address_that_is_none_is_named(store: Store) -> None:
    with pytest.raises(EndpointError, match=r"llm\.base_url"):
        fetch([ask(1)], config=config("localhost:99/v1"), store=store, stage="recommend")


def test_a_missing_key_is_one_sentence(store: Store) -> None:
    with pytest.raises(EndpointError, match="set OPENAI_API_KEY"):
        fetch([ask(1)], config=config("https://llm.invalid/v1"), store=store, stage="recommend")


def test_an_unknown_price_is_an_error_before_anything_is_sent(
    store: Store, endpoint: Endpoint
) -> None:
    with pytest.raises(ConfigError, match=r"llm\.prices"):
        fetch([ask(1, model="mine.v2")], config=config(endpoint), store=store, stage="recommend")
    assert endpoint.seen == []


# -- budget ------------------------------------------------------------------------------------


def test_the_budget_stops_before_the_call_that_could_cross_it(
    store: Store, endpoint: Endpoint
) -> None:
    one = (100 * 0.15 + 50 * 0.60) / 1e6
    limit = 10.5 * one
    requests = [ask(n) for n in range(40)]
    with pytest.raises(BudgetExceeded, match=r"llm\.max_usd"):
        fetch(
            requests,
            config=config(endpoint, max_usd=limit),
            store=store,
            stage="recommend",
            run="r",
        )
    assert 8 * one <= spent(store, "r") <= limit
    assert len(AnswerStore(store).digests([r.key for r in requests])) == len(endpoint.seen)
    rest = fetch(requests, config=config(endpoint), store=store, stage="recommend", run="r")
    assert rest.sent == 40 - rest.from_ledger
    assert set(endpoint.counts.values()) == {1}


def test_what_the_run_spent_before_counts(store: Store, endpoint: Endpoint) -> None:
    with pytest.raises(BudgetExceeded):
        fetch(
            [ask(1)],
            config=config(endpoint, max_usd=1.0),
            store=store,
            stage="reflect",
            spent_usd=1.0,
        )
    assert endpoint.seen == []


def test_the_ledger_has_a_row_a_run_stage_and_model(store: Store, endpoint: Endpoint) -> None:
    fetch([ask(1), ask(2)], config=config(endpoint), store=store, stage="recommend", run="r")
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
    requests = [ask(3, model="gpt-4o-mini")]
    fetch(requests, config=config(endpoint), store=store, stage="reflect", run="r")
    first, second = ledger_rows(store)
    assert (first["run"], first["stage"], first["model"]) == ("r", "recommend", "demo-teacher")
    assert (first["requests"], first["prompt_tokens"], first["completion_tokens"]) == (2, 200, 100)
    assert first["usd"] == pytest.approx(90e-6)
    assert (second["cached_tokens"], second["reasoning_tokens"]) == (600, 8)
    assert second["model"] == "gpt-4o-mini"
    assert second["usd"] == pytest.approx((400 * 0.15 + 600 * 0.075 + 10 * 0.60) / 1e6)


# -- secrecy -----------------------------------------------------------------------------------


def test_the_key_is_sent_and_nowhere_kept(
    store: Store,
    endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    fetch([ask(1)], config=config(endpoint), store=store, stage="recommend")
    endpoint.reply = lambda body: refusal(401, None, f"Incorrect API key provided: {KEY}")
    with pytest.raises(EndpointError) as caught:
        fetch([ask(2)], config=config(endpoint), store=store, stage="recommend")
    assert endpoint.keys_seen == {f"Bearer {KEY}"}
    assert KEY not in str(caught.value)
    assert KEY not in caplog.text
    kept = b"".join(p.read_bytes() for p in store.home.rglob("*") if p.is_file())
    assert KEY.encode() not in kept


def test_a_key_that_comes_back_in_an_answer_is_masked(
    store: Store, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    endpoint.reply = lambda body: JSONResponse(completion(f"1. Heat (1995) {KEY}"))
    fetch([ask(1)], config=config(endpoint), store=store, stage="recommend")
    kept = AnswerStore(store).responses([ask(1).key])[ask(1).key]
    assert kept["choices"][0]["message"]["content"] == "1. Heat (1995) …"
    assert KEY.encode() not in b"".join(p.read_bytes() for p in store.home.rglob("*.*"))


def test_each_trouble_has_a_sentence_of_its_own(
    store: Store, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []
    replies = [
        refusal(401, "invalid_api_key"),
        refusal(404, "model_not_found"),
        refusal(400, "context_length_exceeded"),
        refusal(429, "insufficient_quota"),
    ]
    for url, reply in [
        ("https://llm.invalid/v1", None),
        ("http://127.0.0.1:1/v1", None),
        *((endpoint.url, reply) for reply in replies),
    ]:
        endpoint.reply = lambda body, reply=reply: reply  # type: ignore[misc]
        with pytest.raises(EndpointError) as caught:
            fetch([ask(1)], config=config(url), store=store, stage="recommend")
        said.append(str(caught.value))
    words = ["needs a key", "cannot be reached", "refuses the key", "does not know model"]
    words += ["too long", "quota"]
    assert [word in text for word, text in zip(words, said, strict=True)] == [True] * 6
    assert len(set(said)) == 6


def test_reasons_do_not_repeat_the_conversation(store: Store, endpoint: Endpoint) -> None:
    text = "my very private evening with three films"
    request = ask(text)
    endpoint.reply = lambda body: refusal(400, "odd", f"cannot read: post {text}")
    limits = config(endpoint, max_failures=1)
    fetched = fetch([request], config=limits, store=store, stage="recommend")
    assert fetched.failures == {request.key: "HTTP 400"}


# -- interruption and crashes ------------------------------------------------------------------


def test_a_caller_with_an_event_loop_may_fetch(store: Store, endpoint: Endpoint) -> None:
    async def main() -> int:
        return fetch([ask(1)], config=config(endpoint), store=store, stage="recommend").sent

    assert asyncio.run(main()) == 1


def test_progress_ends_complete_and_in_the_calling_thread(store: Store, endpoint: Endpoint) -> None:
    calls: list[tuple[int, int, threading.Thread]] = []
    fetch(
        [ask(n) for n in range(10)],
        config=config(endpoint),
        store=store,
        stage="recommend",
        progress=lambda done, total, text: calls.append((done, total, threading.current_thread())),
    )
    assert calls[0][:2] == (0, 10)
    assert calls[-1][:2] == (10, 10)
    assert {thread for _, _, thread in calls} == {threading.current_thread()}


def test_an_interruption_keeps_what_is_in_flight(store: Store, endpoint: Endpoint) -> None:
    endpoint.latency = 0.4
    requests = [ask(n) for n in range(50)]

    def interrupt(done: int, total: int, text: str) -> None:
        if endpoint.in_flight:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(
            requests,
            config=config(endpoint, max_concurrency=4),
            store=store,
            stage="recommend",
            progress=interrupt,
        )
    kept = AnswerStore(store).digests([r.key for r in requests])
    assert len(kept) == len(endpoint.seen) > 0
    assert len(kept) <= 8


SCRIPT = """
import sys
from pathlib import Path
from convrec.artifacts import Store
from convrec.llm.fetch import fetch
from tests.convrec.llm.conftest import ask, config
home, url, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
fetched = fetch([ask(n) for n in range(count)], config=config(url, max_concurrency=4),
                store=Store(home), stage="recommend", run="child")
print(fetched.from_ledger, fetched.sent)
"""


def child(home: Path, url: str, count: int) -> subprocess.Popen[str]:
    root = Path(__file__).resolve().parents[3]
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(home), url, str(count)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_after_kill_9_only_what_was_in_flight_is_sent_again(
    store: Store, endpoint: Endpoint
) -> None:
    endpoint.latency = 0.02
    running = child(store.home, endpoint.url, 120)
    wait_for(lambda: len(endpoint.seen) > 40)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert list((store.home / "spool").glob("*.jsonl"))
    requests = [ask(n) for n in range(120)]
    fetched = fetch(
        requests, config=config(endpoint, max_concurrency=4), store=store, stage="recommend"
    )
    assert fetched.from_ledger >= 36
    assert len(AnswerStore(store).digests([r.key for r in requests])) == 120
    assert sum(count - 1 for count in endpoint.counts.values()) <= 4
    assert sorted(p.name for p in (store.home / "spool").iterdir()) == ["turn.lock"]


def test_what_another_process_asks_for_is_waited_for_and_not_sent(
    store: Store, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convrec.llm.queue.CHUNK", 5)
    monkeypatch.setattr("convrec.llm.queue.POLL", 0.05)
    requests = [ask(n) for n in range(30)]
    theirs = requests[:12]
    with Spool(store.home / "spool") as other:
        other.claim([r.key for r in theirs], unknown)

        def answer_after_the_rest(done: int, total: int, text: str) -> None:
            if len(endpoint.seen) == 18 and other.claimed:
                AnswerStore(store).add([replace(ANSWER, key=r.key) for r in theirs])
                other.release([r.key for r in theirs])

        fetched = fetch(
            requests,
            config=config(endpoint),
            store=store,
            stage="recommend",
            progress=answer_after_the_rest,
        )
    assert (fetched.from_ledger, fetched.sent) == (12, 18)


def test_two_processes_share_the_work(store: Store, endpoint: Endpoint) -> None:
    endpoint.latency = 0.01
    both = [child(store.home, endpoint.url, 150) for _ in range(2)]
    counts = [tuple(map(int, p.communicate(timeout=60)[0].split())) for p in both]
    assert [found + sent for found, sent in counts] == [150, 150]
    assert sum(sent for _, sent in counts) == 150
    assert set(endpoint.counts.values()) == {1}


def test_a_warehouse_that_fails_meanwhile_loses_no_answer(
    store: Store, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: AnswerStore, answers: Any) -> None:
        raise ConvrecError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(AnswerStore, "add", broken)
        with pytest.raises(ConvrecError, match="the disk is full"):
            fetch([ask(1), ask(2)], config=config(endpoint), store=store, stage="recommend")
    again = fetch([ask(1), ask(2)], config=config(endpoint), store=store, stage="recommend")
    assert (again.from_ledger, again.sent) == (2, 0)
