"""Output files of batches with repeated, unreadable or missing lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from convrec.artifacts import Store
from convrec.demo.batch_api import BatchApiState
from convrec.errors import EndpointError
from convrec.llm.batch import BatchStore
from convrec.llm.batch.client import BatchClient
from convrec.llm.batch.output import line_outcome
from convrec.llm.ledger import ledger_rows
from convrec.llm.outcome import Failure
from tests.support.batch_endpoint import BatchEndpoint, fetch_in_batches, stored_count
from tests.support.llm_endpoint import make_request


def test_a_repeated_line_counts_once(
    store: Store, batches: BatchEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convrec.llm.batch.collect.LINES_PER_COMMIT", 3)
    download = BatchClient.download_file

    def twice(client: BatchClient, file_id: str, path: Path) -> None:
        download(client, file_id, path)
        path.write_text(2 * path.read_text() + path.read_text().replace(": 50", ": 60"))

    monkeypatch.setattr(BatchClient, "download_file", twice)
    fetched = fetch_in_batches([make_request(n) for n in range(4)], batches.start(), store)
    (row,) = ledger_rows(store)
    assert (row["requests"], row["completion_tokens"]) == (4, 200)
    assert (fetched.completion_tokens, fetched.usd) == (200, pytest.approx(row["usd"]))


def change_output(monkeypatch: pytest.MonkeyPatch, change: Callable[[bytes], bytes]) -> None:
    """Let the endpoint return changed output files."""
    content = BatchApiState.read_content

    def changed(state: BatchApiState, file_id: str) -> bytes:
        found = content(state, file_id)
        return change(found) if b'"response"' in found else found

    monkeypatch.setattr(BatchApiState, "read_content", changed)


@pytest.mark.parametrize("line", [b"{no json", b'{"custom_id": 5, "response": {}}', b"\xff"])
@pytest.mark.parametrize("place", [1, 5])
def test_an_unreadable_line_is_kept_and_its_request_resent(
    store: Store,
    batches: BatchEndpoint,
    monkeypatch: pytest.MonkeyPatch,
    line: bytes,
    place: int,
) -> None:
    def change(output: bytes) -> bytes:
        lines = output.splitlines()
        if len(lines) == 6:
            lines[place] = line
        return b"\n".join([*lines, b""])

    change_output(monkeypatch, change)
    requests = [make_request(n) for n in range(6)]
    fetched = fetch_in_batches(requests, batches.start(), store)
    assert (fetched.sent, fetched.failures, stored_count(store, requests)) == (6, {}, 6)
    assert batches.created == [6, 1]
    row, _ = BatchStore(store).records()
    assert row.note == "completed; lines of its output that cannot be read: 1"
    kept = store.home / "spool" / f"unread-{row.batch_key}.jsonl"
    assert kept.read_bytes() == line + b"\n"


@pytest.mark.parametrize(
    "change",
    [
        lambda output: b"<html>\nunder maintenance\n</html>\n",
        lambda output: output[:-40],
    ],
)
def test_a_download_that_is_not_output_ends_no_batch(
    store: Store,
    batches: BatchEndpoint,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[bytes], bytes],
) -> None:
    requests = [make_request(n) for n in range(6)]
    url = batches.start()
    with monkeypatch.context() as patch:
        change_output(patch, change)
        with pytest.raises(EndpointError, match="the response is broken"):
            fetch_in_batches(requests, url, store)
    assert [row.state for row in BatchStore(store).records()] == ["submitted"]
    second = fetch_in_batches(requests, url, store, run="s")
    assert (second.sent, second.from_ledger, batches.created) == (0, 6, [6])


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (None, "transient"),
        ("lost", "transient"),
        (
            {"code": "batch_expired", "message": "not executed in the completion window"},
            "transient",
        ),
        ({"code": "batch_cancelled", "message": "This request was cancelled."}, "transient"),
        ({"code": "request_timeout", "message": "The request timed out"}, "transient"),
        ({"code": "internal_error", "message": "An error occurred"}, "transient"),
        ({"code": "content_filter", "message": "The prompt was filtered"}, "request"),
        ({"code": 400, "message": "This model's maximum context length is 9."}, "request"),
        ({"code": "400", "message": "odd words"}, "request"),
        ({"code": "model_not_found", "message": "There is no such model"}, "terminal"),
        ({"code": "insufficient_quota", "message": "Add credit"}, "terminal"),
        ({"message": "Incorrect API key provided"}, "terminal"),
        ({"code": "unsupported_parameter", "param": "max_tokens"}, "terminal"),
    ],
)
def test_an_error_in_place_of_a_response_is_understood(error: object, kind: str) -> None:
    line = {"custom_id": "a", "response": None, "error": error}
    outcome = line_outcome(line, make_request(0))
    assert isinstance(outcome, Failure)
    assert outcome.kind == kind
    assert outcome.reason.startswith("the batch reports ")
