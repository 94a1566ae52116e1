"""One chat completion of the embedded models, as the OpenAI API words it."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping
from typing import Any

from convrec.artifacts.identity import digest
from convrec.demo import judge, teacher
from convrec.demo.world import detect_world
from convrec.errors import InputError

MODELS = ("demo-teacher", "demo-judge")
"""The models that `complete` knows."""

CREATED = 1_700_000_000
"""Every completion bears this moment, so that equal requests get equal answers."""

_CHARACTERS_PER_TOKEN = 4


def complete(body: Mapping[str, Any]) -> dict[str, Any]:
    """Answer a `/v1/chat/completions` request body; equal bodies get equal answers.

    Raises InputError for an unknown model, no user message, or a request that the judge cannot
    read: what an endpoint answers with status 400 or 404.
    """
    model = body.get("model")
    if model not in MODELS:
        raise InputError(f"no model {model!r} here: the demo endpoint has {' and '.join(MODELS)}")
    key = digest(body)
    texts = _texts(body.get("messages"))
    conversation, asked = _cut("conversation", "\n".join(texts))
    candidates, instructions = _cut("candidates", asked)
    here = detect_world(instructions if conversation else "")
    rng = random.Random(int(key[:16], 16))
    if model == "demo-teacher":
        content = teacher.respond(conversation or asked, asked, rng, here)
    else:
        content = judge.respond(conversation, candidates, body.get("response_format"), rng, here)
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    finish = "stop"
    if limit and _tokens([content]) > limit:
        content, finish = content[: limit * _CHARACTERS_PER_TOKEN], "length"
    return _envelope(key, model, content, finish, texts)


def _envelope(
    key: str, model: str, content: str, finish: str, texts: Iterable[str]
) -> dict[str, Any]:
    asked, said = _tokens(texts), _tokens([content])
    message = {"role": "assistant", "content": content, "refusal": None}
    return {
        "id": f"chatcmpl-{key[:24]}",
        "object": "chat.completion",
        "created": CREATED,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": {
            "prompt_tokens": asked,
            "completion_tokens": said,
            "total_tokens": asked + said,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }


def _cut(tag: str, text: str) -> tuple[str, str]:
    """What stands between the last `<tag>` and its `</tag>`, and the text without it."""
    end = text.rfind(f"</{tag}>")
    before, opened, inside = text[: max(end, 0)].rpartition(f"<{tag}>")
    return (inside, before + opened + text[end:]) if opened else ("", text)


def _texts(messages: object) -> list[str]:
    """The text of every message; a content may be a string or a list of text parts."""
    texts = []
    for message in messages if isinstance(messages, list) else []:
        content = message.get("content") if isinstance(message, dict) else None
        parts = content if isinstance(content, list) else [{"text": content}]
        texts.append("".join(str(p.get("text") or "") for p in parts if isinstance(p, dict)))
    if not any(text.strip() for text in texts):
        raise InputError("`messages` must be a list of chat messages with some text in them")
    return texts


def _tokens(texts: Iterable[str]) -> int:
    return sum(math.ceil(len(text) / _CHARACTERS_PER_TOKEN) for text in texts)
