"""States of the Batch API that pass are waited for; those that do not pass end in a sentence."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from convrec.artifacts import Store
from convrec.errors import BudgetExceeded, EndpointError
from convrec.llm.batch import BatchStore
from convrec.llm.batch.passing import batch_errors, done_count, final_state, passing_refusal
from convrec.llm.ledger import ledger_rows
from tests.support.batch_endpoint import BatchEndpoint, fetch_in_batches, stored_count
from tests.support.llm_endpoint import make_request

REQUESTS = [make_request(n) for n in range(6)]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convrec.llm.batch.client.MAX_DELAY", 0.05)


def refused(status: int, message: str, **more: Any) -> Response:
    return JSONResponse({"error": {"message": message, **more}}, status_code=status)


CREATE_REFUSALS = {
    "pending": refused(400, "The file is not ready: its status is pending.", code="invalidPayload"),
    "not processed": refused(400, "Input file file-1 has not been processed yet"),
    "404 file": JSONResponse({"detail": "Input file not found"}, status_code=404),
    "404 bare": refused(404, "Resource not found"),
    "404 id": refused(404, "No such File object: file-abc"),
    "409": refused(409, "file is still processing, try again"),
    "422": JSONResponse({"detail": [{"msg": "input_file_id does not exist"}]}, status_code=422),
    "429": refused(429, "Rate limit reached", code="rate_limit_exceeded"),
    "503": refused(503, "try later"),
    "queue": refused(429, "The number of enqueued tokens has surpassed the limit"),
    "queue 400": refused(400, "Enqueued token limit reached", code="token_limit_exceeded"),
}


@pytest.mark.parametrize("form", CREATE_REFUSALS)
def test_a_creation_that_is_refused_for_now_is_tried_again(
    store: Store, batches: BatchEndpoint, form: str
) -> None:
    batches.intercept = lambda call, number: (
        CREATE_REFUSALS[form] if call == "POST batches" and number < 2 else None
    )
    assert fetch_in_batches(REQUESTS, batches.start(), store).sent == 6
    assert batches.created == [6]
    assert (batches.calls["POST files"], batches.calls["POST batches"]) == (1, 3)
    assert stored_count(store, REQUESTS) == 6


@pytest.mark.parametrize(
    "words", [["pending"] * 3, ["Running", "running"], ["uploaded"] * 2, ["uploaded"] * 99]
)
def test_a_file_is_waited_for_until_it_is_processed(
    store: Store, batches: BatchEndpoint, words: list[str]
) -> None:
    def rewrite(call: str, number: int, body: dict[str, Any]) -> dict[str, Any]:
        polls = batches.calls["GET file"]
        is_file = call in ("POST files", "GET file")
        return body | {"status": words[polls]} if is_file and polls < len(words) else body

    batches.rewrite = rewrite
    assert fetch_in_batches(REQUESTS, batches.start(), store).sent == 6
    assert batches.calls["GET file"] == min(len(words), 5)
    assert batches.calls["POST batches"] == 1


def test_a_processed_file_is_not_looked_at(store: Store, batches: BatchEndpoint) -> None:
    batches.intercept = lambda call, number: refused(404, "no") if call == "GET file" else None
    fetch_in_batches(REQUESTS, batches.start(), store)
    assert batches.calls["GET file"] == 0


def test_a_file_that_the_endpoint_cannot_read_is_told(store: Store, batches: BatchEndpoint) -> None:
    batches.rewrite = lambda call, number, body: (
        body | {"status": "error"} if call == "POST files" else body
    )
    url = batches.start()
    with pytest.raises(EndpointError, match=r"cannot use the input file file-.* 'error'"):
        fetch_in_batches(REQUESTS, url, store)
    batches.rewrite = None
    assert fetch_in_batches(REQUESTS, url, store, run="s").sent == 6
    assert batches.calls["POST files"] == 2


def test_a_file_is_not_uploaded_again_by_the_next_run(store: Store, batches: BatchEndpoint) -> None:
    batches.intercept = lambda call, number: (
        CREATE_REFUSALS["404 file"] if call == "POST batches" else None
    )
    url = batches.start()
    with pytest.raises(EndpointError, match=r"Input file not found.*3 attempts.*run again"):
        fetch_in_batches(REQUESTS, url, store, max_attempts=3)
    batches.intercept = lambda call, number: None
    assert fetch_in_batches(REQUESTS, url, store, run="s").sent == 6
    assert (batches.calls["POST files"], batches.created) == (1, [6])
    assert {row["run"] for row in ledger_rows(store)} == {"s"}


def test_a_batch_of_another_run_is_not_adopted_beyond_the_budget(
    store: Store, batches: BatchEndpoint
) -> None:
    batches.intercept = lambda call, number: (
        refused(401, "bad key") if call == "POST batches" else None
    )
    url = batches.start()
    with pytest.raises(EndpointError):
        fetch_in_batches(REQUESTS, url, store)
    batches.intercept = lambda call, number: None
    with pytest.raises(BudgetExceeded, match=r"llm\.max_usd"):
        fetch_in_batches(REQUESTS, url, store, run="s", max_usd=0.00001)
    assert batches.created == []


FINAL_REFUSALS = {
    "purpose": (refused(400, "The input file has the wrong purpose"), "wrong purpose"),
    "model": (refused(404, "The model does not exist", code="model_not_found"), "model"),
    "quota": (refused(429, "You exceeded your quota", code="insufficient_quota"), "quota"),
    "key": (refused(401, "Incorrect API key"), "API key"),
}


@pytest.mark.parametrize("form", FINAL_REFUSALS)
def test_a_final_refusal_is_not_tried_again(
    store: Store, batches: BatchEndpoint, form: str
) -> None:
    response, words = FINAL_REFUSALS[form]
    batches.intercept = lambda call, number: response if call == "POST batches" else None
    with pytest.raises(EndpointError, match=words):
        fetch_in_batches(REQUESTS, batches.start(), store)
    assert batches.calls["POST batches"] == 1


@pytest.mark.parametrize("call", ["POST files", "GET files", "GET batches", "GET batch"])
def test_many_rate_limits_are_no_failure(store: Store, batches: BatchEndpoint, call: str) -> None:
    batches.intercept = lambda name, number: (
        CREATE_REFUSALS["429"] if name == call and number < 8 else None
    )
    assert fetch_in_batches(REQUESTS, batches.start(), store, max_attempts=2).sent == 6


def test_a_batch_is_not_known_right_after_its_creation(
    store: Store, batches: BatchEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches.intercept = lambda call, number: (
        refused(404, "No batch found") if call == "GET batch" and number < 3 else None
    )
    url = batches.start()
    assert fetch_in_batches(REQUESTS, url, store).sent == 6
    monkeypatch.setattr("convrec.llm.batch.sender.NEW_SECONDS", 0.0)
    batches.calls.clear()
    with pytest.raises(EndpointError, match="--release KEY"):
        fetch_in_batches([make_request("new")], url, store)


def test_a_full_queue_waits_for_other_batches(store: Store, batches: BatchEndpoint) -> None:
    ended = 0

    def intercept(call: str, number: int) -> Response | None:
        is_full = call == "POST batches" and len(batches.created) > ended
        return CREATE_REFUSALS["queue"] if is_full else None

    def rewrite(call: str, number: int, body: dict[str, Any]) -> dict[str, Any]:
        nonlocal ended
        if call == "GET batch" and body["status"] == "completed":
            ended = len(batches.created)
        return body

    batches.intercept, batches.rewrite = intercept, rewrite
    url = batches.start(batch_seconds=0.1)
    fetched = fetch_in_batches(REQUESTS, url, store, batch={"max_requests": 2})
    assert (fetched.sent, batches.created) == (6, [2, 2, 2])
    assert batches.calls["POST files"] == 3


def test_a_batch_that_alone_fills_the_queue_is_halved(store: Store, batches: BatchEndpoint) -> None:
    batches.intercept = lambda call, number: (
        CREATE_REFUSALS["queue"] if call == "POST batches" and number < 3 else None
    )
    assert fetch_in_batches(REQUESTS, batches.start(), store).sent == 6
    assert batches.created == [3, 3]


@pytest.mark.parametrize("word", ["queued", "Validating", "FINALIZING", "in_review", "cancelling"])
def test_any_other_state_passes(store: Store, batches: BatchEndpoint, word: str) -> None:
    batches.rewrite = lambda call, number, body: (
        body | {"status": word, "output_file_id": None, "request_counts": None}
        if call == "GET batch" and number < 3
        else body
    )
    assert fetch_in_batches(REQUESTS, batches.start(), store).sent == 6
    assert batches.calls["GET batch"] == 4


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"status": "COMPLETED"}, "completed"),
        ({"status": "succeeded"}, "completed"),
        ({"status": "JOB_STATE_SUCCEEDED"}, "completed"),
        ({"status": "BatchStatus.COMPLETED"}, "completed"),
        ({"status": "completed_with_errors"}, "completed"),
        ({"status": "JOB_STATE_FAILED"}, "failed"),
        ({"status": "aborted"}, "failed"),
        ({"status": "stopped"}, "cancelled"),
        ({"status": "JOB_STATE_RUNNING"}, ""),
        ({"status": "partially_completed"}, ""),
        ({"status": "SUCCESS"}, "completed"),
        ({"status": "canceled"}, "cancelled"),
        ({"status": "TIMEOUT_EXCEEDED"}, "expired"),
        ({"status": "FAILED"}, "failed"),
        ({"status": "all_done", "output_file_id": "f", "completed_at": 5}, "completed"),
        ({"status": "all_done", "output_file_id": "f"}, ""),
        ({"status": "in_progress", "output_file_id": "f"}, ""),
    ],
)
def test_the_end_of_a_batch_has_several_names(changes: dict[str, Any], state: str) -> None:
    assert final_state(SimpleNamespace(**changes)) == state


@pytest.mark.parametrize("state", ["expired", "failed", "cancelled"])
def test_what_an_unfinished_batch_ran_is_kept(
    store: Store, batches: BatchEndpoint, state: str
) -> None:
    batches.rewrite = lambda call, number, body: (
        body | {"status": state, "completed_at": None, "errors": None}
        if call == "GET batch" and body["status"] == "expired"
        else body
    )
    url = batches.start("batch_expired:1")
    if state == "failed":
        with pytest.raises(EndpointError, match="What it ran is stored"):
            fetch_in_batches(REQUESTS, url, store)
    else:
        fetch_in_batches(REQUESTS, url, store, batch={"max_rounds": 1}, max_failures=1.0)
    assert stored_count(store, REQUESTS) == 3
    assert sum(row["requests"] for row in ledger_rows(store)) == 3


def test_an_error_file_alone_is_read(store: Store, batches: BatchEndpoint) -> None:
    def reply(body: dict[str, Any]) -> dict[str, Any]:
        raise ValueError("this model's maximum context length is 10 tokens")

    batches.reply = reply
    url = batches.start()
    batches.rewrite = lambda call, number, body: (
        body | {"output_file_id": ""} if call == "GET batch" else body
    )
    fetched = fetch_in_batches(REQUESTS, url, store, max_failures=1.0)
    assert len(fetched.failures) == 6
    assert all("too long" in reason for reason in fetched.failures.values())


def test_an_endpoint_without_lists_works(store: Store, batches: BatchEndpoint) -> None:
    batches.intercept = lambda call, number: (
        refused(404, "Not Found") if call in ("GET files", "GET batches") else None
    )
    assert fetch_in_batches(REQUESTS, batches.start(), store).sent == 6
    assert batches.created == [6]


def test_without_lists_a_lost_answer_creates_no_second_batch(
    store: Store, batches: BatchEndpoint
) -> None:
    def intercept(call: str, number: int) -> Response | None:
        if call in ("GET files", "GET batches"):
            return refused(405, "Method Not Allowed")
        return refused(502, "bad gateway") if call == "POST batches" else None

    batches.intercept = intercept
    url = batches.start()
    for run in ("r", "s"):
        with pytest.raises(EndpointError, match=r"batches --release [0-9a-f]{16}"):
            fetch_in_batches(REQUESTS, url, store, run=run)
    assert batches.calls["POST batches"] == 1
    assert [row.state for row in BatchStore(store).records()] == ["ready"]


@pytest.mark.parametrize(
    ("errors", "first"),
    [
        ({"object": "list", "data": [{"code": "a", "message": "b\nc"}]}, ("a", "b c")),
        ([{"code": "a", "message": "b"}], ("a", "b")),
        ({"data": [{"message": "b"}]}, ("no code", "b")),
        ("b", ("no code", "b")),
        (SimpleNamespace(data=[SimpleNamespace(code="a", message=None)]), ("a", "")),
    ],
)
def test_errors_of_a_batch_have_several_forms(errors: Any, first: tuple[str, str]) -> None:
    wrapped = SimpleNamespace(**errors) if isinstance(errors, dict) else errors
    assert batch_errors(SimpleNamespace(errors=wrapped))[0] == first
    assert batch_errors(SimpleNamespace(errors=None)) == []


@pytest.mark.parametrize(
    ("counts", "done"),
    [(None, 0), ({"completed": 2, "failed": 1}, 3), ({"completed": None, "total": 4}, 0)],
)
def test_counts_may_be_missing(counts: dict[str, Any] | None, done: int) -> None:
    numbers = SimpleNamespace(**counts) if counts else None
    assert done_count(SimpleNamespace(request_counts=numbers)) == done


def test_a_404_without_an_api_is_no_passing_state() -> None:
    body = json.dumps({"error": {"message": "Not Found"}})
    assert passing_refusal(404, body, has_api=False) is None
    assert passing_refusal(404, body) == "file"


@pytest.mark.parametrize(
    ("status", "message", "passing"),
    [
        (400, "The File abc is not in an ACTIVE state and usage is not allowed.", "file"),
        (409, "InputFile is being validated", "file"),
        (404, "dataset abc not found", "file"),
        (429, "Number of batches in the queue exceeds the limit", "queue"),
        (429, "Maximum pending batch requests reached: 1000000", "queue"),
        (429, "You have exceeded your rate limit of 2000 batches per hour", None),
        (400, "You have reached the maximum number of files (500)", None),
        (400, "The batch input file exceeds 50,000 requests", None),
        (400, "File file-abc has expired and is not available", None),
        (403, "You do not have access to this file", None),
        (404, "The API deployment for this resource does not exist", None),
    ],
)
def test_the_words_tell_what_passes(status: int, message: str, passing: str | None) -> None:
    assert passing_refusal(status, json.dumps({"error": {"message": message}})) == passing
