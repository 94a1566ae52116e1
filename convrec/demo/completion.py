"""Chat completions of the simulated models in the format of the OpenAI API."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping
from typing import Any

from convrec.artifacts.identity import digest
from convrec.demo import describe, judge, teacher
from convrec.demo.world import detect_world
from convrec.errors import InputError

MODELS = ("demo-teacher", "demo-judge")
"""The models that `complete` simulates. The teacher can judge, too."""

CREATED = 1_700_000_000
"""`created` of every completion, so that equal requests get equal responses."""

_CHARACTERS_PER_TOKEN = 4


def complete(body: Mapping[str, Any]) -> dict[str, Any]:
    """The response to a `/v1/chat/completions` request body; the same for equal bodies.

    `stream` makes no difference: the client adds `stream: false`, which is in no request key.
    Raises InputError for an unknown model, messages without text, or an unusable judge request.
    """
    model = body.get("model")
    if model not in MODELS:
        raise InputError(f"no model {model!r} here: the demo endpoint has {' and '.join(MODELS)}")
    key = digest({name: value for name, value in body.items() if name != "stream"})
    texts = _message_texts(body.get("messages"))
    content = _write_content(body, "\n".join(texts), random.Random(int(key[:16], 16)))
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    finish_reason = "stop"
    if limit and count_tokens([content]) > limit:
        content, finish_reason = content[: limit * _CHARACTERS_PER_TOKEN], "length"
    return _response(key, model, content, finish_reason, texts)


def _write_content(body: Mapping[str, Any], text: str, rng: random.Random) -> str:
    """What the model writes: a description of a title, ratings of candidates, or a list."""
    conversation, prompt = _extract_tag("conversation", text)
    if not conversation:
        title, instructions = _extract_tag("title", text)
        if title:
            return describe.respond(title, rng, detect_world(instructions))
    candidates, instructions = _extract_tag("candidates", prompt)
    world = detect_world(instructions if conversation else "")
    if body["model"] == "demo-teacher" and not candidates:
        return teacher.respond(conversation or prompt, prompt, rng, world)
    return judge.respond(conversation, candidates, body.get("response_format"), rng, world)


def _response(
    key: str, model: str, content: str, finish_reason: str, texts: Iterable[str]
) -> dict[str, Any]:
    prompt_tokens, completion_tokens = count_tokens(texts), count_tokens([content])
    message = {"role": "assistant", "content": content, "refusal": None}
    return {
        "id": f"chatcmpl-{key[:24]}",
        "object": "chat.completion",
        "created": CREATED,
        "model": model,
        "choices": [
            {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }


def _extract_tag(tag: str, text: str) -> tuple[str, str]:
    """(content of the last `<tag>` element, the text without that content)."""
    end = text.rfind(f"</{tag}>")
    before, opened, inside = text[: max(end, 0)].rpartition(f"<{tag}>")
    return (inside, before + opened + text[end:]) if opened else ("", text)


def _message_texts(messages: object) -> list[str]:
    """The text of each message, whose content is a string or a list of text parts."""
    texts = []
    for message in messages if isinstance(messages, list) else []:
        content = message.get("content") if isinstance(message, dict) else None
        parts = content if isinstance(content, list) else [{"text": content}]
        texts.append("".join(str(p.get("text") or "") for p in parts if isinstance(p, dict)))
    if not any(text.strip() for text in texts):
        raise InputError("`messages` must be a list of chat messages with some text in them")
    return texts


def count_tokens(texts: Iterable[str]) -> int:
    """About how many tokens the texts have."""
    return sum(math.ceil(len(text) / _CHARACTERS_PER_TOKEN) for text in texts)
