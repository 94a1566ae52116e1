"""Read the error in a response body, in whatever form an endpoint or a gateway writes it.

OpenAI writes `{"error": {"message", "type", "param", "code"}}`. Others send the text alone, a list
of errors, the error at the top, FastAPI's `detail`, an error within the text of another, or a web
page. `find_error` looks for an error in a body that could be a response; `read_error` reads a body
that is known to report one.
"""

from __future__ import annotations

import html
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from convrec.llm.rate_limit import parse_duration

MAX_DEPTH = 8
MAX_ITEMS = 8
"""How deep, and how many items of a list, errors are looked for."""

MAX_MESSAGE = 2000
"""Characters of a message that are read."""

MAX_INNER = 20_000
"""Characters of an error within a text that are read."""

_ERROR_KEYS = ("error", "errors", "fault", "base_resp", "promptFeedback", "prompt_feedback")
_DETAIL_KEYS = ("detail", "details", "innererror", "inner_error", "metadata", "raw", "cause")
_INNER_KEYS = (
    *(*_ERROR_KEYS, *_DETAIL_KEYS),
    *("headers", "violations", "response", "body", "message", "msg"),
)
_MESSAGE_KEYS = (
    *("message", "msg", "error_message", "error_msg", "error_description", "Message"),
    *("faultstring", "status_msg", "description", "detail", "error", "title"),
)
_CODE_KEYS = (
    *("code", "status", "type", "reason", "error_code", "error_type", "status_code", "__type"),
    *("blockReason", "block_reason", "error", "http_code", "statusCode"),
)
_LIST_CODE_KEYS = ("reasons", "codes")
_BARE_KEYS = frozenset({"code", "status", "error_code", "status_code", "statusCode", "success"})
"""Next to a message, these keys tell an error at the top from something that a model wrote."""

_OUTER_KEYS = (*_BARE_KEYS, "message", "retry_after", "estimated_time")
"""What counts next to an error, in a body without choices."""

_RETRY_KEYS = {
    "retrydelay": 1.0,
    "retryafter": 1.0,
    "retryafterseconds": 1.0,
    "retryafterms": 1e-3,
    "estimatedtime": 1.0,
}
"""Names of a pause, without signs and in lower case → seconds per unit."""

_UNITS = r"(?:\s*(?:milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d))"
_RETRY = re.compile(
    rf"(?:try again|retry(?:ing)?|wait)(?:\s+(?:in|after|for|at least))*\s*"
    rf"((?:\d+(?:\.\d+)?{_UNITS}[\s,]*)+)",
    re.I,
)
_LONG_UNITS = re.compile(r"(milliseconds?|seconds?|secs?|minutes?|mins?|hours?|hrs?|days?)", re.I)
_PAGE = re.compile(
    r"\s*(?:<!--.*?-->\s*)?<(?:!doctype html|html|head|body|center|h1)\b", re.I | re.S
)
_TITLE = re.compile(r"<(title|h1)\b[^>]{0,200}>([^<]{1,300})", re.I)
_SNAKE_CASE = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")
_STATUS_IN_TEXT = re.compile(
    r"\b(?:error code|status code|http(?: status)?)[: ]+([45]\d\d)\b", re.I
)
_JSON_START = re.compile(r"(?:\[\s*)?\{")
_WORD = re.compile(r"[\w.\-: ]{1,80}")


@dataclass(frozen=True)
class ErrorBody:
    """An error as the endpoint reports it.

    Attributes:
        message: Its texts, the outermost first.
        codes: Its codes, types and reasons, as lower-case letters and digits only.
        status: The HTTP status that it gives in its own words; 0 if it gives none.
        param: The request parameter that it is about.
        retry_after: The pause in seconds that it asks for.
        is_page: Whether the body is a web page instead of an error of an API.
    """

    message: str = ""
    codes: frozenset[str] = frozenset()
    status: int = 0
    param: str = ""
    retry_after: float = 0.0
    is_page: bool = False


def read_error(body: object) -> ErrorBody:
    """The error in the body (text or parsed JSON) of a response that reports one."""
    if isinstance(body, str) and is_page(body):
        return ErrorBody(page_title(body), is_page=True)
    objects = list(_error_objects(body, MAX_DEPTH))
    message = _joined(text for each in objects if (text := _message(each)))
    pauses = [pause for each in objects if (pause := _pause(each))]
    return ErrorBody(
        message=message,
        codes=frozenset(
            [
                *(code for each in objects for code in _codes(each)),
                *(squashed(word) for word in _SNAKE_CASE.findall(message)),
            ]
        ),
        status=next((number for each in objects if (number := _status(each))), 0)
        or _status_in_text(message),
        param=next((param for each in objects if (param := _param(each))), ""),
        retry_after=max([*pauses, _pause_in_text(message)]),
    )


def find_error(response: object) -> ErrorBody | None:
    """The error in a body with a successful HTTP status; None if it reports none."""
    if isinstance(response, list):
        reported = [each for each in response[:MAX_ITEMS] if find_error(each)]
        return read_error(reported) if reported else None
    if not isinstance(response, Mapping):
        return None
    reports = {name: response[name] for name in _ERROR_KEYS if _is_report(name, response.get(name))}
    if reports:
        names = () if response.get("choices") else _OUTER_KEYS
        return read_error({name: response[name] for name in names if name in response} | reports)
    is_labelled = response.get("object") == "error" or response.get("type") == "error"
    is_bare = not (response.get("choices") or response.get("data")) and (
        bool(response.get("detail"))
        or (bool(_message(response)) and not _BARE_KEYS.isdisjoint(response))
    )
    return read_error(response) if is_labelled or is_bare else None


def is_page(text: str) -> bool:
    """Whether a body is a web page."""
    return bool(_PAGE.match(text[:MAX_MESSAGE]))


def page_title(text: str) -> str:
    """The title of a web page, or its first heading; empty if it has neither."""
    found = _TITLE.search(text[:20_000])
    return html.unescape(" ".join(found.group(2).split())) if found else ""


def squashed(word: str) -> str:
    """A code in the form of `ErrorBody.codes`: `rate_limit_exceeded` → `ratelimitexceeded`."""
    return re.sub(r"[^a-z0-9]", "", word.lower())


def _is_report(name: str, value: object) -> bool:
    """Whether the value under one of `_ERROR_KEYS` reports an error."""
    if name == "base_resp":
        return isinstance(value, Mapping) and value.get("status_code") not in (None, 0, "0")
    if name in ("promptFeedback", "prompt_feedback"):
        return isinstance(value, Mapping) and any(value.get(key) for key in _CODE_KEYS)
    return bool(value) and value is not True


def _error_objects(value: object, depth: int) -> Iterator[Mapping[str, Any]]:
    """The objects that describe the error, the outermost first; a text as `{"message": text}`."""
    if depth <= 0:
        return
    if isinstance(value, str):
        words, inner = _split_json(value)
        if inner is None or words.strip():
            yield {"message": value[:MAX_MESSAGE]}
        yield from _error_objects(inner, depth - 1)
    elif isinstance(value, list):
        for item in value[:MAX_ITEMS]:
            yield from _error_objects(item, depth - 1)
    elif isinstance(value, Mapping):
        yield value
        for name in ("message", "msg", "error_message", "error_msg"):
            if isinstance(text := value.get(name), str):
                yield from _error_objects(_split_json(text)[1], depth - 1)
        for name in _INNER_KEYS:
            if not isinstance(value.get(name), str) or name == "raw":
                yield from _error_objects(value.get(name), depth - 1)


def _split_json(text: str) -> tuple[str, object]:
    """The words before the JSON object or array in a text, and its value.

    The whole text and None if there is no JSON.
    """
    if start := _JSON_START.search(text):
        with suppress(ValueError, RecursionError):
            part = text[start.start() : start.start() + MAX_INNER]
            found, _ = json.JSONDecoder().raw_decode(part)
            if found:
                return text[: start.start()], found
    return text, None


def _message(error: Mapping[str, Any]) -> str:
    """The text of one error object; FastAPI's with the place that it is about."""
    for name in _MESSAGE_KEYS:
        text = error.get(name)
        if not isinstance(text, str) or not text.strip():
            continue
        text, _ = _split_json(text[:MAX_MESSAGE])
        location = error.get("loc")
        if isinstance(location, (list, tuple)) and location:
            text = f"{'.'.join(map(str, location[:6]))}: {text}"
        if text.strip(" -:") not in ("", "data"):
            return text.strip().rstrip("-: ")
    return ""


def _joined(texts: Iterator[str]) -> str:
    """Texts without those that repeat an earlier one."""
    kept: list[str] = []
    for text in texts:
        if not any(text in earlier for earlier in kept):
            kept.append(text)
    return ": ".join(kept)[:MAX_MESSAGE]


def _codes(error: Mapping[str, Any]) -> Iterator[str]:
    """The codes of one error object. OpenRouter's `reasons` of a moderation are `flaggedinput`."""
    found = [error.get(name) for name in _CODE_KEYS]
    for name in _LIST_CODE_KEYS:
        values = error.get(name)
        found += values[:MAX_ITEMS] if isinstance(values, list) else []
    quota = error.get("quotaId")
    if isinstance(quota, str) and "perday" in quota.lower():
        yield "perday"
    if error.get("reasons") or "flagged_input" in error or "contentFilter" in error:
        yield "flaggedinput"
    for value in found:
        if isinstance(value, str) and _WORD.fullmatch(value) and (code := squashed(value)):
            yield code
        elif isinstance(value, int) and not isinstance(value, bool):
            yield str(value)


def _status(error: Mapping[str, Any]) -> int:
    """The first of the codes that is an HTTP error status, or 0."""
    for name in _CODE_KEYS:
        value = error.get(name)
        if isinstance(value, str) and re.fullmatch(r"[45]\d\d", value.strip()):
            return int(value)
        if isinstance(value, int) and 400 <= value < 600:
            return value
    return 0


def _status_in_text(message: str) -> int:
    """The status that the text of an error gives for the error within it, or 0."""
    found = _STATUS_IN_TEXT.search(message)
    return int(found.group(1)) if found else 0


def _param(error: Mapping[str, Any]) -> str:
    param = error.get("param")
    if isinstance(param, str):
        return param
    location = error.get("loc")
    if isinstance(location, (list, tuple)):
        return ".".join(str(part) for part in location[:6] if part != "body")
    return ""


def _pause(error: Mapping[str, Any]) -> float:
    """Seconds that one error object asks to wait, or 0."""
    for name, value in list(error.items())[:50]:
        key = squashed(str(name))
        if key == "xratelimitreset":
            return _until(value)
        if key in _RETRY_KEYS and not isinstance(value, bool):
            try:
                return max(0.0, parse_duration(str(value)) * _RETRY_KEYS[key])
            except ValueError:
                continue
    return 0.0


def _until(moment: object) -> float:
    """Seconds until a moment: seconds or milliseconds since 1970, or a number of seconds."""
    try:
        number = parse_duration(str(moment))
    except ValueError:
        return 0.0
    if number > 1e11:
        number /= 1e3
    return max(0.0, number - time.time()) if number > 1e9 else number


def _pause_in_text(message: str) -> float:
    """Seconds of a pause as in `Please try again in 1m2.5s`, or 0."""
    found = _RETRY.search(message)
    if not found:
        return 0.0
    text = _LONG_UNITS.sub(
        lambda unit: "ms" if unit[0].lower().startswith("mil") else unit[0][0].lower(),
        found.group(1),
    )
    try:
        return parse_duration(re.sub(r"[\s,]", "", text)[:40].rstrip("."))
    except ValueError:
        return 0.0
