from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from convrec.artifacts import Store
from convrec.errors import InputError
from convrec.llm.import_responses import import_batch_output
from convrec.llm.ledger import ledger_rows
from convrec.llm.read import NO_RESPONSE, stored_answers
from convrec.llm.requests import Request
from convrec.llm.response_store import ResponseStore
from tests.support.llm_endpoint import completion, make_request


def line(custom_id: str, body: Any = None, status: int = 200, error: Any = None) -> str:
    response = None if error else {"status_code": status, "body": body or completion()}
    return json.dumps({"id": "b", "custom_id": custom_id, "response": response, "error": error})


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


def test_lines_are_matched_by_owner_and_by_key(store: Store, tmp_path: Path) -> None:
    requests = [make_request(n) for n in range(6)]
    path = tmp_path / "output.jsonl"
    lines = [
        line("context-0", completion("1. Heat (1995)")),
        line(requests[1].key, completion("1. Ronin (1998)")),
        line("context-2", status=500),
        line("context-3", error={"code": "batch_expired", "message": "late"}),
        line("context-4", {"choices": []}),
        line("someone-else"),
    ]
    path.write_text("\n".join(lines) + "\n")
    result = import_batch_output(path, requests, store)
    assert (result.requests, result.from_ledger, result.sent, result.usd) == (6, 2, 0, 0.0)
    assert (result.imported, result.lines - result.matched) == (2, 1)
    assert {requests[n].key: result.failures[requests[n].key] for n in range(2, 6)} == {
        requests[2].key: "output.jsonl: the batch reports HTTP 500",
        requests[3].key: "output.jsonl: the batch reports batch_expired",
        requests[4].key: "output.jsonl: the response holds no choices",
        requests[5].key: "output.jsonl has no line for this conversation",
    }
    responses = ResponseStore(store).responses([r.key for r in requests])
    assert responses[requests[1].key] == completion("1. Ronin (1998)")
    assert ledger_rows(store) == []
    second = import_batch_output(path, requests, store)
    assert (second.from_ledger, second.imported) == (2, 0)


LIST = "1. Heat (1995)\n2. Ronin (1998)"
MESSAGES: dict[str, dict[str, Any]] = {
    "a thought": {"content": f"<think>\n1. Up (2009)\n</think>\n{LIST}"},
    "parts": {"content": [{"type": "thinking", "thinking": "Up"}, {"type": "text", "text": LIST}]},
    "reasoning": {"content": LIST, "reasoning_content": "1. Up (2009)"},
    "a fence": {"content": f"```\n{LIST}\n```"},
}


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_an_imported_response_stays_as_it_is_and_is_read_like_others(
    store: Store, tmp_path: Path, message: dict[str, Any]
) -> None:
    request, path = make_request(0), tmp_path / "output.jsonl"
    body = completion() | {"choices": [{"message": message, "finish_reason": "stop"}]}
    path.write_text(line(request.key, body) + "\n")
    assert import_batch_output(path, [request], store).imported == 1
    assert ResponseStore(store).responses([request.key]) == {request.key: body}
    ((_, answer),) = stored_answers([request], store)
    assert (answer.text or "").strip() == LIST


def test_a_request_without_a_response_has_that_reason(store: Store) -> None:
    ((_, answer),) = stored_answers([make_request(0)], store)
    assert (answer.text, answer.reason) == (None, NO_RESPONSE)


def test_real_responses_of_inspired_are_imported(store: Store, shared: Path) -> None:
    path = shared / "data" / "inspired" / "gpt-3.5-turbo.batch_output.jsonl"
    rows = [json.loads(text) for text in path.read_text().splitlines()]
    requests = [
        Request(owner=row["custom_id"], endpoint="x", body={"model": "m", "messages": [n]})
        for n, row in enumerate(rows)
    ]
    result = import_batch_output(path, requests, store)
    assert (result.requests, result.imported, dict(result.failures)) == (228, 228, {})
    assert result.lines == result.matched
    stored = ResponseStore(store).responses([r.key for r in requests])
    assert all(
        stored[r.key] == row["response"]["body"] for r, row in zip(requests, rows, strict=True)
    )


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, zstd])
def test_a_compressed_file_is_read(
    store: Store, tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    path, request = tmp_path / "output.jsonl.x", make_request(1)
    path.write_bytes(compress(f"{line(request.key)}\n".encode()))
    assert import_batch_output(path, [request], store).imported == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "cannot be read"), ("{}\n", "line 1 is not"), ("not json\n", "line 1 is not")],
)
def test_a_file_that_is_not_batch_output_is_refused(
    store: Store, tmp_path: Path, text: str | None, words: str
) -> None:
    path = tmp_path / "output.jsonl"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        import_batch_output(path, [make_request(1)], store)
    assert str(path) in str(caught.value)


def test_unreadable_lines_do_not_affect_the_others(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "output.jsonl"
    requests = [make_request(n) for n in range(3)]
    lines = [line(request.owner, completion()) for request in requests[:2]]
    path.write_text("".join([lines[0], "\nnot json\n", lines[1]]))
    result = import_batch_output(path, requests, store)
    assert (result.lines, result.imported, list(result.unreadable)) == (2, 2, [2])
    reason = "output.jsonl has no line for this conversation among those that can be read; line 2"
    assert dict(result.failures) == {requests[2].key: f"{reason} cannot"}


def test_conversations_with_the_same_text_share_the_reason(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "output.jsonl"
    path.write_text(line("context-0", error={"code": "batch_expired", "message": "late"}))
    first = make_request(0)
    twin = Request("context-9", first.endpoint, first.body)
    result = import_batch_output(path, [first, twin], store)
    reason = "output.jsonl: the batch reports batch_expired"
    assert result.reasons == {"context-0": reason, "context-9": reason}
