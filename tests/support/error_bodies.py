"""Error bodies in the forms of real endpoints, and what must be understood of each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from convrec.llm.error_body import read_error
from convrec.llm.error_kinds import error_kind
from convrec.llm.outcome import Failure, error_failure
from convrec.llm.response_body import parse_response

ErrorCase = tuple[str, int, object, str]
"""Name of the case, HTTP status, body and kind."""

BODY = {
    "model": "some-model",
    "temperature": 0.0,
    "max_tokens": 600,
    "messages": [{"role": "user", "content": "something like the long goodbye, please, but newer"}],
}


def openai(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", **more}}


def google(code: int, status: str, message: str, *details: dict[str, Any]) -> list[dict[str, Any]]:
    error = {"code": code, "message": message, "status": status, "details": list(details)}
    return [{"error": error}]


HTML = "<!DOCTYPE html><html><head><title>{}</title></head><body>nginx</body></html>"

FAILURE_KINDS = {
    **dict.fromkeys(("key", "access", "quota", "daily", "model", "route"), "terminal"),
    **dict.fromkeys(("flagged", "too_long"), "request"),
    "busy": "transient",
}


def each_error(cases: list[ErrorCase]) -> pytest.MarkDecorator:
    """Run a test on each case."""
    names = [name for name, *_ in cases]
    return pytest.mark.parametrize(
        ("status", "body", "kind"), [each[1:] for each in cases], ids=names
    )


both_forms = pytest.mark.parametrize("as_text", [False, True], ids=["parsed", "text"])
"""Run a test on the parsed body and on its text."""


def assert_understood(status: int, body: object, kind: str, as_text: bool) -> None:
    """The kind, the failure and the response of an error are those of `kind`."""
    sent = json.dumps(body) if as_text and not isinstance(body, str) else body
    error = read_error(sent)
    assert error_kind(error, error.status or (status if status >= 400 else 0)) == kind
    failure = error_failure("http://e/v1", "", status, sent, BODY)
    assert failure.kind == FAILURE_KINDS.get(kind, "request")
    assert failure.explained == (kind != "other")
    if status == 200:
        found = parse_response(json.dumps(body), BODY, url="http://e/v1")
        assert isinstance(found, Failure)
        assert (found.kind, found.reason) == (failure.kind, failure.reason)
