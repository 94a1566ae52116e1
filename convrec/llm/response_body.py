"""Check a response body for completeness and count its billed tokens.

The text that the model wrote is not interpreted here: that is the work of the stages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from convrec.llm.outcome import Failure, Success
from convrec.llm.prices import Usage

MAX_TOKENS = 10**9
"""A token count above this is an error of the endpoint."""

MAX_DEPTH = 100
"""Deepest nesting of a response, which is parsed again later with perhaps less stack left."""


def parse_response(text: str, body: Mapping[str, Any]) -> Success | Failure:
    """Whether `text` is a complete response to the request `body`; if not, a transient failure."""
    try:
        response = json.loads(text)
    except (ValueError, RecursionError):
        return Failure("transient", "the response is broken JSON")
    if not isinstance(response, dict):
        return Failure("transient", "the response is not a JSON object")
    usage = _billed_usage(response, text, body)
    if defect := _defect(response, body):
        billed = usage if response.get("usage") else None
        return Failure("transient", f"the response holds {defect}", usage=billed)
    return Success(text, usage)


def prompt_bytes(body: Mapping[str, Any]) -> int:
    """UTF-8 bytes that the model reads: messages, tools and response schema, or `input`."""
    if "input" in body:
        return sum(len(text.encode()) for text in body["input"])
    prompt = [body.get(name) for name in ("messages", "tools", "response_format")]
    return len(json.dumps(prompt, ensure_ascii=False).encode())


def _defect(response: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    """What is wrong with a response; empty if it is complete."""
    if _is_deeper(response, MAX_DEPTH):
        return f"more than {MAX_DEPTH} levels"
    if "input" in body:
        data = response.get("data")
        count = len(data) if isinstance(data, list) else 0
        return "" if count == len(body["input"]) else "not one embedding for each text"
    choices = response.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, dict):
        return "no choices"
    # A gateway that has started to respond reports a model failure in the body, with status 200.
    return "an error beside its choices" if response.get("error") or first.get("error") else ""


def _is_deeper(value: object, levels: int) -> bool:
    """Whether lists and objects are nested deeper than `levels`."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(
        not levels or _is_deeper(item, levels - 1)
        for item in inside
        if isinstance(item, (dict, list))
    )


def _billed_usage(response: Mapping[str, Any], text: str, body: Mapping[str, Any]) -> Usage:
    """Reported tokens; without a usable report an upper bound, 3 bytes per token."""
    usage = response.get("usage")
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
