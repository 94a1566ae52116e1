from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any

import pytest

from convrec.artifacts import Store
from convrec.config import Config
from convrec.errors import BudgetExceeded, EndpointError, InputError
from convrec.llm.batch import BatchStore, cancel_batch, release_batch
from convrec.llm.batch.client import BatchClient
from convrec.llm.batch.store import BatchDraft
from convrec.llm.fetch import FetchResult, fetch
from convrec.llm.ledger import ledger_rows
from convrec.llm.requests import Request
from convrec.llm.response_store import ResponseStore
from convrec.llm.spool import Spool
from tests.support.batch_endpoint import BatchEndpoint, fetch_in_batches, stored_count
from tests.support.llm_endpoint import Endpoint, completion, config, make_request

pytestmark = pytest.mark.on_ducklake


def test_a_batch_costs_half_the_price(store: Store, batches: BatchEndpoint) -> None:
    requests = [make_request(n) for n in range(20)]
    fetched = fetch_in_batches([*requests, make_request(0)], batches.start(), store)
    assert (fetched.requests, fetched.from_ledger, fetched.sent) == (20, 0, 20)
    assert fetched.usd == pytest.approx(20 * (100 * 0.15 + 50 * 0.60) / 1e6 / 2)
    assert fetched.failures == {}
    row = ledger_rows(store)[0]
    assert (row["origin"], row["requests"], row["run"]) == ("batch", 20, "r")
    assert batches.created == [20]
    assert BatchStore(store).records()[0].state == "ended"
    second = fetch_in_batches(requests, batches.url, store, run="s")
    assert (second.from_ledger, second.sent, second.usd) == (20, 0, 0.0)
    assert batches.created == [20]


def test_responses_are_joined_by_custom_id(store: Store, batches: BatchEndpoint) -> None:
    batches.reply = lambda body: completion(body["messages"][-1]["content"])
    requests = [make_request(n) for n in range(30)]
    fetch_in_batches(requests, batches.start(), store)
    responses = ResponseStore(store).responses([r.key for r in requests])
    texts = [responses[r.key]["choices"][0]["message"]["content"] for r in requests]
    assert texts == [f"post {n}" for n in range(30)]


def test_batches_are_split_by_requests_and_by_bytes(store: Store, batches: BatchEndpoint) -> None:
    url = batches.start()
    fetch_in_batches([make_request(n) for n in range(10)], url, store, batch={"max_requests": 4})
    assert sorted(batches.created) == [2, 4, 4]
    fetch_in_batches(
        [make_request(f"x{n}") for n in range(10)], url, store, batch={"max_bytes": 900}
    )
    assert all(size <= 4 for size in batches.created[3:])
    assert sum(batches.created) == 20


def test_an_expired_batch_is_finished_by_another(store: Store, batches: BatchEndpoint) -> None:
    url = batches.start("batch_expired:1")
    requests = [make_request(n) for n in range(16)]
    fetched = fetch_in_batches(requests, url, store, batch={"max_rounds": 9})
    assert (fetched.requests, fetched.sent, fetched.failures) == (16, 16, {})
    assert stored_count(store, requests) == 16
    assert set(batches.seen) == {f"post {n}" for n in range(16)}
    assert batches.created[:3] == [16, 8, 4]


def test_requests_without_a_response_are_recorded(store: Store, batches: BatchEndpoint) -> None:
    requests = [make_request(n) for n in range(3)]
    url = batches.start("batch_expired:1")
    fetched = fetch_in_batches(requests, url, store, batch={"max_rounds": 1}, max_failures=1.0)
    assert set(fetched.failures.values()) == {"no answer in 1 batches"}
    assert len(fetched.failures) == 1


def test_lines_with_errors_are_resent_or_recorded(store: Store, batches: BatchEndpoint) -> None:
    def reply(body: dict[str, Any]) -> dict[str, Any]:
        if body["messages"][-1]["content"] == "post 3":
            raise ValueError("this model's maximum context length is 10 tokens")
        return completion()

    batches.reply = reply
    requests = [make_request(n) for n in range(40)]
    url = batches.start("429:0.1,500:0.1,drop:0.05,truncate:0.05")
    fetched = fetch_in_batches(requests, url, store, batch={"max_rounds": 20}, max_attempts=30)
    assert set(fetched.failures) == {requests[3].key}
    assert "too long" in fetched.failures[requests[3].key]
    assert stored_count(store, requests) == 39


def test_a_batch_with_too_many_tokens_is_halved(store: Store, batches: BatchEndpoint) -> None:
    url = batches.start("batch_failed:0.5", seed=9)
    requests = [make_request(n) for n in range(16)]
    fetch_in_batches(requests, url, store)
    assert stored_count(store, requests) == 16
    assert len(batches.created) > 1


def test_a_refused_batch_is_an_error_and_frees_its_requests(
    store: Store, batches: BatchEndpoint
) -> None:
    requests = [make_request(n, model="gpt-4o-mini") for n in range(4)]
    url = batches.start()
    with pytest.raises(EndpointError, match="model_not_found"):
        fetch_in_batches(requests, url, store)
    assert ResponseStore(store).key_status([r.key for r in requests]).batched == set()


@pytest.mark.parametrize("seed", range(4))
def test_failing_api_calls_submit_nothing_twice(
    store: Store, batches: BatchEndpoint, seed: int
) -> None:
    faults = "429:0.1,500:0.1,drop:0.1,garbage:0.05,truncate:0.05,empty:0.05"
    requests = [make_request(n) for n in range(6)]
    url = batches.start(faults, seed=seed)
    # Lines fail too. Each round sends only what is missing, so no request is answered twice.
    fetch_in_batches(requests, url, store, batch={"max_rounds": 50}, max_attempts=40)
    good = [row["key"] for row in batches.log if row["outcome"] == "200" and "batch" in row]
    assert stored_count(store, requests) == 6
    uploads = [row["filename"] for row in batches.log if row["outcome"] == "uploaded"]
    assert len(uploads) == len(set(uploads))
    assert len(batches.created) == len(uploads)
    assert set(good) == {r.key for r in requests}


def test_a_live_run_waits_for_open_batches(store: Store, batches: BatchEndpoint) -> None:
    requests = [make_request(n) for n in range(8)]
    url = batches.start(batch_seconds=1.0)
    thread = threading.Thread(target=fetch_in_batches, args=(requests[:6], url, store))
    thread.start()
    while not batches.created:
        time.sleep(0.01)
    settings = config(url, batch={"poll_seconds": 0.05})
    fetched = fetch(requests, config=settings, store=store, stage="recommend", run="live")
    thread.join()
    assert (fetched.requests, fetched.from_ledger, fetched.sent) == (8, 6, 2)
    served = [row["key"] for row in batches.log if row["outcome"] == "200"]
    assert sorted(served) == sorted(request.key for request in requests)


def test_requests_that_the_budget_covers_are_sent(store: Store, batches: BatchEndpoint) -> None:
    requests = [make_request(n) for n in range(40)]
    batches.reply = lambda body: completion(prompt=20, output=40)
    url = batches.start()
    with pytest.raises(BudgetExceeded, match=r"llm\.max_usd"):
        fetch_in_batches(requests, url, store, max_usd=0.0003)
    spent = sum(row["usd"] for row in ledger_rows(store))
    assert 0 < spent <= 0.0003
    rest = fetch_in_batches(requests, url, store, run="s")
    assert rest.from_ledger + rest.sent == 40
    assert sum(batches.created) == 40


def test_batches_of_an_earlier_attempt_count_in_the_budget(
    store: Store, batches: BatchEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [make_request(n) for n in range(40)]
    batches.reply = lambda body: completion(prompt=20, output=40)
    url = batches.start(batch_seconds=0.3)
    with monkeypatch.context() as patch:
        patch.setattr("convrec.llm.batch.client.BatchClient.get_batch", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            fetch_in_batches(requests, url, store, max_usd=0.0003)
    submitted = sum(batches.created)
    with pytest.raises(BudgetExceeded, match=r"llm\.max_usd"):
        fetch_in_batches(requests, url, store, max_usd=0.0003)
    assert 0 < submitted < 40
    assert sum(row["usd"] for row in ledger_rows(store)) <= 0.0003


def test_a_cancelled_batch_stops_the_run_and_keeps_responses(
    store: Store, batches: BatchEndpoint
) -> None:
    requests = [make_request(n) for n in range(10)]
    url = batches.start(batch_seconds=60)
    caught: list[BaseException] = []

    def run() -> None:
        try:
            fetch_in_batches(requests, url, store)
        except EndpointError as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while not (rows := [row for row in BatchStore(store).records() if row.state == "submitted"]):
        time.sleep(0.02)
    for _ in range(100):  # the run that submitted it may still hold its lock
        with suppress(InputError):
            cancel_batch(rows[0].batch_key, config(url), ResponseStore(store))
            break
        time.sleep(0.05)
    thread.join(30)
    assert "was cancelled" in str(caught[0])
    assert stored_count(store, requests) == 5
    batches.stop()
    rest = fetch_in_batches(requests, batches.start(), store, run="s")
    assert (rest.from_ledger, rest.sent) == (5, 5)


def test_a_batch_that_the_endpoint_lost_can_be_released(
    store: Store, batches: BatchEndpoint
) -> None:
    requests = [make_request(n) for n in range(4)]
    with Spool(store.home / "spool"):
        draft = BatchDraft(BatchStore(store), "test", "recommend", "r")
        draft.write_requests(requests)
    row = BatchStore(store).records()[0]
    BatchStore(store).update(row, state="submitted", batch_id="batch_gone")
    url = batches.start()
    with pytest.raises(EndpointError, match="--release KEY"):
        fetch_in_batches(requests, url, store)
    release_batch(row.batch_key, ResponseStore(store))
    assert fetch_in_batches(requests, url, store).sent == 4


def submit_and_crash(requests: list[Request], url: str, store: Store) -> None:
    """Submit a batch from a run that crashes before the batch ends."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("convrec.llm.batch.client.BatchClient.get_batch", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            fetch_in_batches(requests, url, store, run="first")


@pytest.mark.parametrize("source", ["live", "batch"])
def test_a_batch_that_is_no_longer_needed_is_collected(
    store: Store, batches: BatchEndpoint, source: str
) -> None:
    url = batches.start()
    old = [make_request(n) for n in range(6)]
    submit_and_crash(old, url, store)
    settings = config(url, batch={"poll_seconds": 0.05})
    fetched = fetch(
        [make_request("new")],
        config=settings,
        store=store,
        stage="recommend",
        run="second",
        source=source,
    )
    assert (fetched.requests, fetched.sent) == (1, 1)
    assert stored_count(store, old) == 6
    bill = {row["run"]: row["requests"] for row in ledger_rows(store)}
    assert bill == {"first": 6, "second": 1}
    assert {row.state for row in BatchStore(store).records()} == {"ended"}


def test_a_lost_batch_that_is_not_needed_stops_no_run(store: Store, batches: BatchEndpoint) -> None:
    url = batches.start()
    BatchDraft(BatchStore(store), "test", "recommend", "first").write_requests(
        [make_request("old")]
    )
    BatchStore(store).update(
        BatchStore(store).records()[0], state="submitted", batch_id="batch_gone"
    )
    assert fetch_in_batches([make_request("new")], url, store).sent == 1
    assert [row.state for row in BatchStore(store).records()] == ["submitted", "ended"]


def test_a_batch_in_submission_cannot_be_cancelled(
    store: Store, batches: BatchEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = batches.start()
    requests = [make_request(n) for n in range(6)]
    create = BatchClient.create_batch

    def meanwhile(client: BatchClient, file_id: str, batch_key: str) -> str:
        with pytest.raises(InputError, match="right now"):
            cancel_batch(batch_key, config(url), ResponseStore(store))
        with pytest.raises(InputError, match="right now"):
            release_batch(batch_key, ResponseStore(store))
        return create(client, file_id, batch_key)

    monkeypatch.setattr(BatchClient, "create_batch", meanwhile)
    assert fetch_in_batches(requests, url, store).sent == 6
    assert batches.created == [6]
    assert stored_count(store, requests) == 6


def test_a_batch_is_cancelled_at_its_own_endpoint_only(
    store: Store, batches: BatchEndpoint
) -> None:
    url = batches.start(batch_seconds=60)
    submit_and_crash([make_request(1)], url, store)
    (row,) = BatchStore(store).records()
    other = Config.model_validate({"llm": {"base_url": url, "endpoint": "other"}})
    with pytest.raises(InputError, match=r"belongs to endpoint test, and profile .* uses other"):
        cancel_batch(row.batch_key, other, ResponseStore(store))
    assert BatchStore(store).records() == [row]


def test_after_a_missing_batch_api_live_requests_work(store: Store, endpoint: Endpoint) -> None:
    requests = [make_request(n) for n in range(4)]
    with pytest.raises(EndpointError, match=r"recommend\.source=live"):
        fetch_in_batches(requests, endpoint.url, store)
    live = fetch(requests, config=config(endpoint), store=store, stage="recommend", run="live")
    assert (live.sent, live.failures) == (4, {})
    assert {row.note for row in BatchStore(store).records()} == {"never submitted"}


def test_a_batch_collected_by_another_run_counts_as_sent(
    store: Store, batches: BatchEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = batches.start()
    requests = [make_request(n) for n in range(6)]
    others: list[FetchResult] = []
    get_batch = BatchClient.get_batch

    def meanwhile(client: BatchClient, batch_id: str) -> Any:
        batch = get_batch(client, batch_id)
        if batch.status == "completed" and not others:
            others.append(FetchResult())
            others[0] = fetch(
                requests, config=config(url), store=store, stage="recommend", run="other"
            )
        return batch

    monkeypatch.setattr(BatchClient, "get_batch", meanwhile)
    fetched = fetch_in_batches(requests, url, store)
    assert (fetched.requests, fetched.from_ledger, fetched.sent) == (6, 0, 6)
    assert (others[0].requests, others[0].from_ledger, others[0].sent) == (6, 6, 0)
    assert batches.created == [6]
