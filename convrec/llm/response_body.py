"""Check a response body for completeness and count its billed tokens.

The text that the model wrote is not interpreted here: that is the work of the stages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from convrec.llm.error_body import find_error, is_page, page_title
from convrec.llm.event_stream import is_event_stream, joined_stream, stream_events
from convrec.llm.outcome import Failure, Success, error_failure
from convrec.llm.prices import Usage

MAX_TOKENS = 10**9
"""A token count above this is an error of the endpoint."""

MAX_DEPTH = 100
"""Deepest nesting of a response, which is parsed again later with perhaps less stack left."""


def parse_response(
    text: str, body: Mapping[str, Any], content_type: str = "", *, url: str = "", key: str = ""
) -> Success | Failure:
    """Whether `text` is a complete response to the request `body`; if not, why.

    A streamed response is put together. An error that the text reports is classified as one of an
    HTTP status; `url` and the API `key` are for its message.
    """
    text = text.removeprefix("\ufeff")
    try:
        response = json.loads(text)
    except (ValueError, RecursionError):
        if "input" not in body and is_event_stream(text, content_type):
            return _parse_stream(text, body, url, key)
        return Failure("transient", _describe_body(text, content_type), malformed=True)
    return _checked(response, text, body, url, key)


def _checked(
    response: object, text: str, body: Mapping[str, Any], url: str, key: str
) -> Success | Failure:
    """Success if `response`, the parsed `text`, is complete; else what is wrong with it."""
    if failure := _problem(response, body, url, key):
        return replace(failure, usage=_bill(response, text, body))
    return Success(text, _billed_usage(response, text, body))


def _problem(response: object, body: Mapping[str, Any], url: str, key: str) -> Failure | None:
    if _is_deeper(response, MAX_DEPTH):
        reason = f"the response holds more than {MAX_DEPTH} levels"
        return Failure("transient", reason, malformed=True)
    if error := find_error(response):
        return error_failure(url, key, 200, error, body)
    if not isinstance(response, dict):
        return Failure("transient", "the response is not a JSON object", malformed=True)
    if defect := _defect(response, body):
        return Failure("transient", f"the response holds {defect}", malformed=True)
    return _choice_failure(response, body, url, key)


def _parse_stream(text: str, body: Mapping[str, Any], url: str, key: str) -> Success | Failure:
    events = list(stream_events(text))
    for event in events:
        if error := find_error(event):
            usage = _bill(joined_stream(events)[0], text, body)
            return replace(error_failure(url, key, 200, error, body), usage=usage)
    response, is_complete = joined_stream(events)
    if is_complete:
        return _checked(response, json.dumps(response, ensure_ascii=False), body, url, key)
    # The model has written, so the endpoint bills it, whether it says so or not.
    usage = _billed_usage(response, text, body) if response["choices"] else None
    reason = "the response is a stream (text/event-stream) that breaks off"
    return Failure("transient", reason, usage=usage, malformed=True)


def _describe_body(text: str, content_type: str) -> str:
    """What a body is that is not JSON."""
    if not text.strip():
        return "the response is empty"
    kind = content_type.partition(";")[0].strip()
    shown = f" ({kind})" if kind and "json" not in kind else ""
    if is_page(text):
        title = page_title(text)[:80]
        titled = f", titled {title!r}" if title else ""
        return f"the response is a web page{shown}{titled}, not JSON"
    return f"the response is not JSON{shown}" if shown else "the response is broken JSON"


def _bill(response: object, text: str, body: Mapping[str, Any]) -> Usage | None:
    """The billed tokens of an unusable response, if it reports any."""
    if not isinstance(response, dict) or not response.get("usage"):
        return None
    return _billed_usage(response, text, body)


def _first_choice(response: Mapping[str, Any]) -> dict[str, Any] | None:
    choices = response.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else None


def _choice_failure(
    response: Mapping[str, Any], body: Mapping[str, Any], url: str, key: str
) -> Failure | None:
    """The failure that the first choice reports. The answer may have begun before it."""
    choice = _first_choice(response) or {}
    if error := choice.get("error"):
        return error_failure(url, key, 200, {"error": error}, body)
    if choice.get("finish_reason") == "error":
        reason = "the endpoint broke off the answer (finish_reason error)"
        return Failure("transient", reason, malformed=True)
    return None


def prompt_bytes(body: Mapping[str, Any]) -> int:
    """UTF-8 bytes that the model reads: messages, tools and response schema, or `input`."""
    if "input" in body:
        return sum(len(text.encode()) for text in body["input"])
    prompt = [body.get(name) for name in ("messages", "tools", "response_format")]
    return len(json.dumps(prompt, ensure_ascii=False).encode())


def _defect(response: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    """What is wrong with a response; empty if it is complete."""
    if "input" in body:
        data = response.get("data")
        count = len(data) if isinstance(data, list) else 0
        return "" if count == len(body["input"]) else "not one embedding for each text"
    return "no choices" if _first_choice(response) is None else ""


def _is_deeper(value: object, levels: int) -> bool:
    """Whether lists and objects are nested deeper than `levels`."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(
        not levels or _is_deeper(item, levels - 1)
        for item in inside
        if isinstance(item, (dict, list))
    )


def _billed_usage(response: object, text: str, body: Mapping[str, Any]) -> Usage:
    """Reported tokens; without a usable report an upper bound, 3 bytes per token."""
    usage = response.get("usage") if isinstance(response, Mapping) else None
    is_embedding = "input" in body
    try:
        if isinstance(usage, Mapping):
            return _reported_usage(usage, is_embedding)
    except (TypeError, ValueError, OverflowError):  # the report is incomplete or has no numbers
        pass
    completion = 0 if is_embedding else len(text.encode()) // 3
    return Usage(prompt_bytes(body) // 3, 0, completion)


def _reported_usage(usage: Mapping[str, Any], is_embedding: bool) -> Usage:
    """Tokens as reported. Raises ValueError if prompt or completion tokens are missing.

    Some endpoints report cached or reasoning tokens in addition to the prompt or completion
    tokens, not as part of them. Then `total_tokens` includes them and they are billed.
    """
    prompt = _token_count(usage, "prompt_tokens")
    if not prompt or (not is_embedding and usage.get("completion_tokens") is None):
        raise ValueError
    cached = _token_count(usage.get("prompt_tokens_details"), "cached_tokens")
    if cached > prompt:
        prompt += cached
    if is_embedding:
        return Usage(prompt, cached, 0)
    completion = max(
        _token_count(usage, "completion_tokens"), _token_count(usage, "total_tokens") - prompt
    )
    reasoning = _token_count(usage.get("completion_tokens_details"), "reasoning_tokens")
    if reasoning > completion:
        completion += reasoning
    return Usage(prompt, cached, completion, reasoning)


def _token_count(group: object, name: str) -> int:
    """A number of tokens, 0 if absent. Raises ValueError if it is negative or absurdly large."""
    count = int(group.get(name) or 0) if isinstance(group, Mapping) else 0
    if not 0 <= count <= MAX_TOKENS:
        raise ValueError
    return count
