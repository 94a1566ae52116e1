"""Interrupted, killed or next to other processes: no response is lost or bought twice."""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from starlette.responses import JSONResponse

from convrec.artifacts import Store
from convrec.errors import (
    ConvrecError,
)
from convrec.llm.dispatch_thread import stop_sending
from convrec.llm.fetch import fetch
from convrec.llm.ledger import ledger_rows
from convrec.llm.response_store import ResponseStore
from convrec.llm.spool import Spool
from tests.support.llm_endpoint import (
    Endpoint,
    completion,
    config,
    fetch_in_child,
    make_request,
    refusal,
    wait_for,
)
from tests.support.stored_responses import RESPONSE, nothing_stored


def test_an_interruption_stores_the_responses_in_flight(store: Store, endpoint: Endpoint) -> None:
    endpoint.latency = 0.4
    requests = [make_request(n) for n in range(50)]

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
    stored = ResponseStore(store).digests([r.key for r in requests])
    assert len(stored) == len(endpoint.seen) > 0
    assert len(stored) <= 8


def test_an_interruption_gives_up_slow_requests_and_says_so(
    store: Store, endpoint: Endpoint
) -> None:
    endpoint.latency = 0.01
    requests = [make_request(n) for n in range(300)]
    settings = config(endpoint, max_concurrency=4, drain_seconds=0.3)

    def interrupt(done: int, total: int, text: str) -> None:
        if endpoint.latency > 1 and endpoint.in_flight == 4:
            raise KeyboardInterrupt
        endpoint.latency = 600 if done >= 4 else endpoint.latency

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt) as interruption:
        fetch(requests, config=settings, store=store, stage="recommend", progress=interrupt)
    assert time.monotonic() - started < 60
    (note,) = interruption.value.__notes__
    assert note.startswith("4 requests had no response 0.3 s later and were given up")
    stored = ResponseStore(store).digests([r.key for r in requests])
    assert len(stored) == len(endpoint.seen) - 4 >= 4

    endpoint.latency = 0
    again = fetch(requests, config=settings, store=store, stage="recommend")
    assert again.from_ledger == len(stored)
    assert sum(count - 1 for count in endpoint.counts.values()) == 4


def test_sending_can_be_stopped_from_another_thread(store: Store, endpoint: Endpoint) -> None:
    """If the interruption is lost in a library, nothing more is bought."""
    endpoint.latency = 0.05
    requests = [make_request(n) for n in range(300)]
    stoppers: list[threading.Thread] = []

    def stop(done: int, total: int, text: str) -> None:
        if done >= 4 and not stoppers:
            stoppers.append(threading.Thread(target=stop_sending))
            stoppers[0].start()

    fetch(
        requests,
        config=config(endpoint, max_concurrency=4, max_failures=1),
        store=store,
        stage="recommend",
        progress=stop,
    )
    assert 4 <= len(endpoint.seen) < 300
    assert len(ResponseStore(store).digests([r.key for r in requests])) == len(endpoint.seen)


def test_after_kill_9_only_requests_in_flight_are_resent(store: Store, endpoint: Endpoint) -> None:
    endpoint.latency = 0.02
    running = fetch_in_child(store.home, endpoint.url, 120)
    wait_for(lambda: len(endpoint.seen) > 40)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert list((store.home / "spool").glob("*.jsonl"))
    requests = [make_request(n) for n in range(120)]
    fetched = fetch(
        requests, config=config(endpoint, max_concurrency=4), store=store, stage="recommend"
    )
    assert fetched.from_ledger >= 36
    assert len(ResponseStore(store).digests([r.key for r in requests])) == 120
    assert sum(count - 1 for count in endpoint.counts.values()) <= 4
    assert sorted(p.name for p in (store.home / "spool").iterdir()) == ["turn.lock"]


def test_requests_claimed_elsewhere_are_awaited_not_sent(
    store: Store, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convrec.llm.queue.CHUNK_SIZE", 5)
    monkeypatch.setattr("convrec.llm.queue.POLL_INTERVAL", 0.05)
    requests = [make_request(n) for n in range(30)]
    theirs = requests[:12]
    with Spool(store.home / "spool") as other:
        other.claim([r.key for r in theirs], nothing_stored)

        def answer_after_the_rest(done: int, total: int, text: str) -> None:
            if len(endpoint.seen) == 18 and other.claimed:
                ResponseStore(store).add([replace(RESPONSE, key=r.key) for r in theirs])
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
    both = [fetch_in_child(store.home, endpoint.url, 150) for _ in range(2)]
    counts = [tuple(map(int, p.communicate(timeout=60)[0].split())) for p in both]
    assert [found + sent for found, sent in counts] == [150, 150]
    assert sum(sent for _, sent in counts) == 150
    assert set(endpoint.counts.values()) == {1}


def test_a_warehouse_failure_loses_no_response(
    store: Store, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: ResponseStore, responses: Any) -> None:
        raise ConvrecError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(ResponseStore, "add", broken)
        with pytest.raises(ConvrecError, match="the disk is full"):
            fetch(
                [make_request(1), make_request(2)],
                config=config(endpoint),
                store=store,
                stage="recommend",
            )
    second = fetch(
        [make_request(1), make_request(2)], config=config(endpoint), store=store, stage="recommend"
    )
    assert (second.from_ledger, second.sent) == (2, 0)


@pytest.mark.parametrize("error", [OSError(116, "Stale file handle"), MemoryError(), ValueError()])
def test_a_failed_commit_stops_the_fetch_and_loses_nothing(
    store: Store, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(self: ResponseStore, responses: Any) -> None:
        raise error

    requests = [make_request(n) for n in range(60)]
    endpoint.latency = 0.02
    with monkeypatch.context() as patch:
        patch.setattr("convrec.llm.writer.COMMIT_INTERVAL", 0.02)
        patch.setattr(ResponseStore, "add", broken)
        with pytest.raises(type(error)):
            fetch(
                requests, config=config(endpoint, max_concurrency=2), store=store, stage="recommend"
            )
    asked = len(endpoint.seen)
    second = fetch(requests, config=config(endpoint), store=store, stage="recommend")
    assert (second.from_ledger, second.sent) == (asked, 60 - asked)


def test_a_key_billed_without_a_response_stays_claimed(
    store: Store, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convrec.llm.writer.COMMIT_INTERVAL", 0.01)
    replies = [
        JSONResponse({**completion(), "choices": []}),
        refusal(503, headers={"retry-after-ms": "400"}),
        JSONResponse(completion()),
    ]
    endpoint.reply = lambda body: replies[len(endpoint.seen) - 1]
    free: list[str] = []

    def try_to_claim(done: int, total: int, text: str) -> None:
        if ledger_rows(store) and not done:
            with Spool(store.home / "spool") as other:
                free.extend(
                    other.claim([make_request(1).key], ResponseStore(store).key_status).granted
                )

    fetched = fetch(
        [make_request(1)], config=config(endpoint), store=store, stage="s", progress=try_to_claim
    )
    assert (fetched.failures, free) == ({}, [])
    assert ledger_rows(store)[0]["requests"] == 2
