"""Replay: take answers from a file that the OpenAI Batch API wrote, at no cost.

Each line is bound to the request that we would have sent: by our own key, or, in files made
elsewhere, by the context that owns the request (`custom_id` = conversation id).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from convrec.artifacts.store import Store
from convrec.errors import InputError
from convrec.llm.answers import AnswerStore
from convrec.llm.calls import Failure, read_response
from convrec.llm.fetch import Fetched
from convrec.llm.requests import Request
from convrec.llm.spool import Answer


@dataclass(frozen=True)
class Imported(Fetched):
    """A fetch from a file. `imported` answers were new; `unknown` lines name no request of ours."""

    imported: int = 0
    unknown: int = 0


def import_batch_output(path: Path, requests: Sequence[Request], store: Store) -> Imported:
    """Store the answers that a Batch output file has for `requests`.

    A request with an error in its line, or with no line, is in `failures` with the reason; one that
    was answered before keeps that answer. Raises InputError where the file is missing or is not
    Batch output.
    """
    by_id: dict[str, dict[str, Request]] = {}
    for request in requests:
        for custom_id in (request.owner, request.key):
            by_id.setdefault(custom_id, {})[request.key] = request
    found: dict[str, Answer] = {}
    reasons: dict[str, str] = {}
    unknown = 0
    for row in _rows(path):
        named = by_id.get(row["custom_id"], {})
        unknown += not named
        for key, request in named.items():
            response = _response(row, request)
            if isinstance(response, Failure):
                reasons[key] = f"{path.name}: {response.reason}"
            elif key not in found:
                found[key] = _answer(request, response)
    answers = AnswerStore(store)
    wanted = {request.key for request in requests}
    known = answers.digests(wanted).keys()
    answers.add([answer for key, answer in found.items() if key not in known])
    missing = wanted - known - found.keys()
    absent = f"{path.name} has no line for this conversation"
    return Imported(
        requests=len(wanted),
        from_ledger=len(wanted) - len(missing),
        failures={key: reasons.get(key, absent) for key in sorted(missing)},
        imported=len(found.keys() - known),
        unknown=unknown,
    )


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _row(path, number, line)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(
            f"{path} cannot be read ({reason}); give the path of an OpenAI Batch output file"
        ) from None


def _row(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if isinstance(row, dict) and isinstance(row.get("custom_id"), str) and "response" in row:
        return row
    raise InputError(
        f"{path}, line {number} is not a line of Batch output: each is a JSON object with "
        "custom_id, response and error; download the file again, or take that line out"
    )


def _response(row: dict[str, Any], request: Request) -> str | Failure:
    """The raw body of a line, or why it is no answer."""
    response = row["response"]
    if row.get("error") or not isinstance(response, dict):
        error = row.get("error")
        code = error.get("code") if isinstance(error, dict) else None
        return Failure("request", f"the batch reports {code or 'an error'}")
    if response.get("status_code") != 200:
        return Failure("request", f"the batch reports HTTP {response.get('status_code')}")
    text = json.dumps(response.get("body"), ensure_ascii=False)
    read = read_response(text, request.body)
    return read if isinstance(read, Failure) else text


def _answer(request: Request, response: str) -> Answer:
    return Answer(
        key=request.key,
        endpoint=request.endpoint,
        model=str(request.body.get("model")),
        body=json.dumps(dict(request.body), ensure_ascii=False),
        response=response,
        origin="imported",
        created_at=datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds"),
    )
