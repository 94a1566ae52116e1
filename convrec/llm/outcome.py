"""The outcome of one request, and what a failure means for the run.

A `transient` failure is worth another attempt. A `request` failure concerns one request only. A
`terminal` failure would meet every request and stops the run. Reasons contain neither the API key
nor text of the conversation.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal

from convrec.llm.prices import Usage
from convrec.llm.rate_limit import format_duration, parse_number
from convrec.llm.requests import route

if TYPE_CHECKING:
    from openai import APIStatusError

MIN_KEY_LENGTH = 8
"""Shorter API keys are placeholders and are not masked."""

MAX_RETRY_AFTER = 600.0
"""Longest pause, in seconds, that the client waits for an endpoint."""

_REQUEST_ERRORS = {
    "context_length_exceeded": "the conversation is too long for the model (HTTP 400)",
    "string_above_max_length": "the conversation is too long for the endpoint (HTTP 400)",
    "content_policy_violation": "the endpoint's content policy refused the conversation (HTTP 400)",
    "content_filter": "the endpoint's content filter refused the conversation (HTTP 400)",
}
"""Error code → reason, for errors that concern one request."""

_TOO_LONG = re.compile(r"maximum context length|context (window|size|length)|too long", re.I)
_SECRET = re.compile(r"\b(sk|key|Bearer)[-_ ][\w*.\-]{6,}", re.I)

_OVERLAP = 24
"""A message that shares this many consecutive characters with the request is not shown."""


@dataclass(frozen=True)
class Success:
    """A usable response: its raw JSON text and the billed tokens."""

    response: str
    usage: Usage


@dataclass(frozen=True)
class Failure:
    """A request without a usable response; `usage` is what was billed nevertheless.

    `unreachable` is True if no connection was made, `explained` is False if the reason is unknown.
    """

    kind: Literal["transient", "request", "terminal"]
    reason: str
    status: int = 0
    retry_after: float = 0.0
    unreachable: bool = False
    explained: bool = True
    usage: Usage | None = None


def connection_failure(url: str, error: Exception) -> Failure:
    """Classify a connection error of the `openai` client."""
    cause = type(error.__cause__).__name__
    if cause in ("UnsupportedProtocol", "InvalidURL", "LocalProtocolError"):
        return Failure("terminal", f"{url} is not an http or https address. Correct llm.base_url")
    if cause in ("ConnectError", "ConnectTimeout"):
        return Failure("transient", "the endpoint cannot be reached", unreachable=True)
    return Failure("transient", "the connection was dropped")


def status_failure(url: str, key: str, error: APIStatusError, body: Mapping[str, Any]) -> Failure:
    """Classify an HTTP error status of the `openai` client."""
    details = error.body if isinstance(error.body, Mapping) else {}
    wait = retry_after_seconds(error.response.headers)
    return error_failure(url, key, error.status_code, details, body, wait)


def error_failure(
    url: str,
    key: str,
    status: int,
    error: Mapping[str, Any],
    body: Mapping[str, Any],
    wait: float = 0.0,
) -> Failure:
    """Classify an error object `{message, code, param}` with an HTTP status.

    `body` is the request body, `wait` the pause in seconds that the endpoint asks for.
    """
    code, param, model = str(error.get("code") or ""), error.get("param"), body.get("model")
    message = str(error.get("message") or error.get("detail") or "")
    detail = _shown_message(message, key, body)

    def terminal(problem: str, advice: str) -> Failure:
        return Failure("terminal", f"{url} {problem} (HTTP {status}). {advice}", status)

    if status == 401:
        return terminal(
            f"rejects the API key{detail}",
            "Set a valid key in OPENAI_API_KEY, or in the Secret block that llm.secret names",
        )
    if status == 403:
        return terminal(
            f"does not allow this API key to use model {model!r}{detail}",
            "Use another key or another model",
        )
    if status == 402 or code in ("insufficient_quota", "billing_hard_limit_reached"):
        return terminal(
            "reports that the quota of this API key is used up", "Add credit and run again"
        )
    if code == "model_not_found" or (status == 404 and "model" in detail.lower()):
        return terminal(
            f"does not have model {model!r}",
            "Choose one of its models in recommend.model, reflect.model and remap.model",
        )
    if status == 404:
        return terminal(f"does not have {route(body)}", "llm.base_url usually ends in /v1")
    if status in (408, 409, 425, 429) or status >= 500:
        if wait > MAX_RETRY_AFTER:
            return terminal(
                f"asks for a pause of {format_duration(wait)}{detail}",
                "All responses so far are stored; run again after the pause to continue",
            )
        return Failure("transient", f"HTTP {status}{detail}", status, wait)
    if code in _REQUEST_ERRORS:
        return Failure("request", _REQUEST_ERRORS[code], status)
    if status == 413 or _TOO_LONG.search(message):
        return Failure("request", f"the conversation is too long (HTTP {status})", status)
    if param and not str(param).startswith(("messages", "input")):
        return terminal(f"does not accept parameter {param!r}{detail}", "Change that setting")
    return Failure("request", f"HTTP {status}{detail}", status, explained=False)


def mask_key(text: str, key: str) -> str:
    """The text without the API key, which some endpoints repeat."""
    return text.replace(key, "…") if len(key) >= MIN_KEY_LENGTH and key in text else text


def retry_after_seconds(headers: Mapping[str, str]) -> float:
    """Seconds to wait according to `retry-after-ms` or `retry-after` (a number or a date), or 0."""
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name)
        if not value:
            continue
        try:
            return max(0.0, parse_number(value) * scale)
        except ValueError:
            try:
                return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
            except (ValueError, OverflowError):
                continue
    return 0.0


def _shown_message(message: str, key: str, body: Mapping[str, Any]) -> str:
    """`: message`, without secrets; empty if the message repeats part of the request."""
    shown = _SECRET.sub("…", mask_key(" ".join(message.split()), key))[:160]
    if not shown or _overlaps(shown, json.dumps(body, ensure_ascii=False)):
        return ""
    return f": {shown.rstrip('.')}"


def _overlaps(message: str, text: str) -> bool:
    starts = range(max(1, len(message) - _OVERLAP + 1))
    return any(message[start : start + _OVERLAP] in text for start in starts)
