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

from convrec.llm.error_body import ErrorBody, read_error
from convrec.llm.error_kinds import Kind, error_kind
from convrec.llm.parameters import (
    TOKEN_PARAMETERS,
    RefusedParameter,
    parameter_setting,
    refused_parameter,
)
from convrec.llm.prices import Usage
from convrec.llm.rate_limit import format_duration, parse_number
from convrec.llm.requests import route

if TYPE_CHECKING:
    from openai import APIStatusError

MIN_KEY_LENGTH = 8
"""Shorter API keys are placeholders and are not masked."""

MAX_RETRY_AFTER = 600.0
"""Longest pause, in seconds, that the client waits for an endpoint."""

_SECRET = re.compile(
    r"\b(?:sk|pk|rk|key|gsk|xai|hf|nvapi|r8)[-_][\w*.\-]{6,}|\bAIza[\w*.\-]{6,}"
    r"|\b(?:Bearer|key)[-_ :=]+(?=[\w*.\-]*[\d*])[\w*.\-]{6,}",
    re.I,
)

_BROKEN_RESPONSES = {
    "DecodingError": "the response is not compressed as its content-encoding says",
    "TooManyRedirects": "redirects without end",
}
"""Class of a connection error → what came in place of a response."""

MAX_SHOWN = 160
"""Characters of an endpoint's message that are shown."""

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
    `malformed` is True for a successful HTTP status without a response of the API: such a body may
    be billed each time. `parameter` is what the endpoint calls an unsupported parameter.
    """

    kind: Literal["transient", "request", "terminal"]
    reason: str
    status: int = 0
    retry_after: float = 0.0
    unreachable: bool = False
    explained: bool = True
    usage: Usage | None = None
    malformed: bool = False
    parameter: str = ""


def connection_failure(url: str, error: Exception) -> Failure:
    """Classify a connection error of the `openai` client."""
    cause = type(error.__cause__).__name__
    if cause in ("UnsupportedProtocol", "InvalidURL", "LocalProtocolError"):
        return Failure("terminal", f"{url} is not an http or https address. Correct llm.base_url")
    if cause in ("ConnectError", "ConnectTimeout"):
        return Failure("transient", "the endpoint cannot be reached", unreachable=True)
    if cause in _BROKEN_RESPONSES:
        return Failure("transient", _BROKEN_RESPONSES[cause], malformed=True)
    return Failure("transient", "the connection was dropped")


def status_failure(url: str, key: str, error: APIStatusError, body: Mapping[str, Any]) -> Failure:
    """Classify an HTTP error status of the `openai` client."""
    wait = retry_after_seconds(error.response.headers)
    return error_failure(url, key, error.status_code, _error_text(error), body, wait)


def error_failure(
    url: str, key: str, status: int, error: object, body: Mapping[str, Any], wait: float = 0.0
) -> Failure:
    """Classify what a response with the HTTP `status` reports as an error.

    `error` is the body of that response, as text or parsed, or an `ErrorBody`. `body` is the
    request body, `wait` the pause in seconds that the headers ask for. An error within a successful
    response has the status of its own code; without one it is worth another attempt.
    """
    found = error if isinstance(error, ErrorBody) else read_error(error)
    number = found.status or (status if status >= 400 else 0)
    report = _Report(url, key, status, number, found, body)
    kind = error_kind(found, number)
    if kind not in ("flagged", "quota", "key", "daily"):
        parameter = refused_parameter(found, body, number)
        if parameter:
            return _parameter_failure(report, parameter)
    return _kind_failure(report, kind, max(wait, found.retry_after))


@dataclass(frozen=True)
class _Report:
    """An error with its request; `number` is the status that decides, 0 if there is none."""

    url: str
    key: str
    status: int
    number: int
    error: ErrorBody
    body: Mapping[str, Any]

    @property
    def model(self) -> object:
        return self.body.get("model")

    @property
    def label(self) -> str:
        """The status as messages show it."""
        if self.status >= 400:
            own = f", code {self.number}" if self.number != self.status else ""
            return f"HTTP {self.status}{own}"
        place = f" in an HTTP {self.status}" if self.status else ""
        return f"error {self.number or ''}".strip() + place

    @property
    def detail(self) -> str:
        """`: message`, safe to show; empty if there is nothing to show."""
        shown = shown_message(self.error, self.key, self.body)
        return f": {shown}" if shown else ""

    def terminal(self, problem: str, advice: str, *, parameter: str = "") -> Failure:
        reason = f"{self.url} {problem} ({self.label}). {advice}"
        return Failure("terminal", reason, self.number, parameter=parameter)


def _kind_failure(report: _Report, kind: Kind, wait: float) -> Failure:
    """The failure of a kind of error; `wait` is the pause in seconds that it asks for."""
    detail, label, number = report.detail, report.label, report.number
    match kind:
        case "key":
            return report.terminal(
                f"rejects the API key{detail}",
                "Set a valid key in OPENAI_API_KEY, or in the Secret block that llm.secret names",
            )
        case "access":
            return report.terminal(
                f"does not allow this API key to use model {report.model!r}{detail}",
                "Use another key or another model",
            )
        case "quota":
            return report.terminal(
                f"reports that the quota of this API key is used up{detail}",
                "Add credit and run again",
            )
        case "daily":
            return report.terminal(
                f"reports that a daily limit is reached{detail}",
                "All responses so far are stored; run again tomorrow to continue",
            )
        case "model":
            return report.terminal(
                f"does not have model {report.model!r}{detail}",
                "Choose one of its models in recommend.model, reflect.model and remap.model",
            )
        case "route":
            return report.terminal(
                f"does not have {route(report.body)}{detail}", "llm.base_url usually ends in /v1"
            )
        case "flagged":
            reason = f"the endpoint's content policy refused the conversation ({label}){detail}"
            return Failure("request", reason, number)
        case "too_long":
            reason = f"the conversation is too long for the model ({label})"
            return Failure("request", reason, number)
        case "busy" if wait > MAX_RETRY_AFTER:
            return report.terminal(
                f"asks for a pause of {format_duration(wait)}{detail}",
                "All responses so far are stored; run again after the pause to continue",
            )
        case "busy":
            return Failure("transient", f"{label}{detail}", number, wait)
    if report.status < 400 and not 400 <= number < 500:
        return Failure("transient", f"{label}{detail}", number, wait, malformed=True)
    return Failure("request", f"{label}{detail}", number, explained=False)


def _parameter_failure(report: _Report, parameter: RefusedParameter) -> Failure:
    """The failure that ends a run unless the parameter can be left out."""
    name, model = parameter.name, str(report.model)
    detail = report.detail
    setting = parameter_setting(model, name)
    if name.startswith("response_format"):
        asked = report.body.get("response_format", {}).get("type")
        other = "json_object or text" if asked == "json_schema" else "json_schema or text"
        problem = f"does not accept response_format {asked!r} for model {model!r}{detail}"
        return report.terminal(problem, f"Set reflect.response_format to {other}", parameter=name)
    if parameter.problem == "value":
        problem = f"does not accept {name}={report.body.get(name)}{detail}"
        if name in TOKEN_PARAMETERS:
            return report.terminal(problem, "Change recommend.max_tokens or reflect.max_tokens")
        advice = f"Change recommend.temperature, or set {setting}" if setting else ""
        return report.terminal(problem, advice or "Change that setting")
    problem = f"does not accept parameter {name!r}{detail}"
    if setting:
        return report.terminal(problem, f"Set {setting}", parameter=name)
    if ".role" in name:
        return report.terminal(problem, "Choose a model that takes system messages")
    return report.terminal(
        problem, f"Change that setting in llm.models, under {model!r}", parameter=name
    )


def _error_text(error: APIStatusError) -> object:
    """The body of an HTTP error, as text where it can be read."""
    import httpx

    try:
        return error.response.text
    except (httpx.StreamError, httpx.HTTPError, LookupError):
        return error.body


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


def shown_message(error: ErrorBody, key: str, body: Mapping[str, Any]) -> str:
    """The beginning of an error's message on one line, without secrets.

    Empty if it repeats part of the conversation in the request `body`.
    """
    shown = _SECRET.sub("…", mask_key(" ".join(error.message.split()), key))[:MAX_SHOWN]
    if not shown or _overlaps(shown, _conversation(body)):
        return ""
    shown = shown.rstrip(".")
    return f"a page titled {shown}" if error.is_page else shown


def _conversation(body: Mapping[str, Any]) -> str:
    """What the request says, as JSON and on one line."""
    said = [body.get("messages"), body.get("input")]
    escaped = json.dumps(said, ensure_ascii=False)
    one_line = " ".join(escaped.replace("\\n", " ").split())
    return f"{escaped}\n{one_line}"


def _overlaps(message: str, text: str) -> bool:
    starts = range(max(1, len(message) - _OVERLAP + 1))
    return any(message[start : start + _OVERLAP] in text for start in starts)
