"""Put a streamed response together: server-sent events, as one chat completion."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

_TEXT_FIELDS = ("content", "reasoning_content", "reasoning", "refusal")
_HEADER_FIELDS = ("id", "created", "model")
_DONE = "[DONE]"


def is_event_stream(text: str, content_type: str = "") -> bool:
    """Whether a body is a stream of server-sent events."""
    start = text[:400].lstrip("\ufeff \r\n\t")
    return content_type.startswith("text/event-stream") or start.startswith(
        ("data:", "event:", ": ", ":\n", "id:", "retry:")
    )


def stream_events(text: str) -> Iterator[Any]:
    """The JSON values of a stream in order, then `[DONE]` if it says that it is done.

    Lines without JSON, as of a stream that breaks off, are skipped.
    """
    for line in text.splitlines():
        name, _, data = line.partition(":")
        data = data.strip()
        if name.strip().lstrip("\ufeff") not in ("data", "error") or not data:
            continue
        if data == _DONE:
            yield _DONE
            return
        try:
            yield json.loads(data)
        except (ValueError, RecursionError):
            continue


def joined_stream(events: list[Any]) -> tuple[dict[str, Any], bool]:
    """The chat completion that `events` make, and whether it is complete.

    Complete is a stream with a finish reason or `[DONE]`. Only the first choice is read.
    """
    message: dict[str, Any] = {"role": "assistant", "content": ""}
    finish_reason: Any = None
    response: dict[str, Any] = {"object": "chat.completion"}
    is_choice_seen = False
    for chunk in events:
        if not isinstance(chunk, Mapping):
            continue
        response.update({k: chunk[k] for k in _HEADER_FIELDS if chunk.get(k) and k not in response})
        if isinstance(chunk.get("usage"), Mapping):
            response["usage"] = dict(chunk["usage"])
        for choice in _first_choices(chunk):
            is_choice_seen = True
            finish_reason = choice.get("finish_reason") or finish_reason
            if isinstance(choice.get("message"), Mapping):
                message = dict(choice["message"])
            else:
                _add_delta(message, choice.get("delta"))
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    response["choices"] = [choice] if is_choice_seen else []
    is_complete = is_choice_seen and bool(finish_reason or events[-1:] == [_DONE])
    return response, is_complete


def _first_choices(chunk: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    choices = chunk.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, Mapping) and choice.get("index") in (0, None):
            yield choice


def _add_delta(message: dict[str, Any], delta: object) -> None:
    if not isinstance(delta, Mapping):
        return
    for name in _TEXT_FIELDS:
        text = delta.get(name)
        if isinstance(text, list):  # parts of a text
            parts = [part.get("text") for part in text if isinstance(part, Mapping)]
            text = "".join(part for part in parts if isinstance(part, str))
        if isinstance(text, str) and text:
            message[name] = str(message.get(name) or "") + text
