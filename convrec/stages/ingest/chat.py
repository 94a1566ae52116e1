"""Conversations as chat messages, in the forms that data sets and chat APIs use.

Messages are a list of {"role", "content"}, or {"from", "value"} as in ShareGPT; content is text or
a list of parts. The list may be in an object ("messages", "conversations"), or in a text as JSON or
as Python writes it. One user message is read as it is. Of several messages, all turns up to the
last user message are kept with their speakers, in the form of the dialogues: "User: ...". System
messages are instructions to a model, no turns; what follows the last user message is its answer.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any, NamedTuple

from convrec.config.domain import CONVERSATION_MARKER
from convrec.stages.ingest.samples import BadRowError, check_unicode

_ROLES = {
    "user": "user",
    "human": "user",
    "prompter": "user",
    "seeker": "user",
    "customer": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "recommender": "assistant",
    "system": "system",
    "developer": "system",
}
_SPEAKERS = {"user": "User", "assistant": "System"}
_NAMED_SPEAKERS = {
    "user": re.compile(r"(?:user|seeker|human)\s*:", re.IGNORECASE),
    "assistant": re.compile(r"(?:system|recommender|assistant)\s*:", re.IGNORECASE),
}
_ROLE_KEYS, _TEXT_KEYS = ("role", "from", "speaker", "author"), ("content", "value", "text")
_LIST_KEYS = ("messages", "conversations", "conversation")
_OTHER_ROLES = ("tool", "function", "observation")
_MAX_LITERAL, _MAX_DELETED = 1_000_000, 100
_OBJECT_START = re.compile(r"\s*\[?\s*\{\s*[\"']\w+[\"']\s*:")
_CHAT_KEY = re.compile(r"[\"'](?:role|from|messages|conversations?)[\"']\s*:")
_DELETED = re.compile(
    r"(?:[^\w\[(<]*[\[(<][^\w\])>]*(?:[Dd]eleted|[Rr]emoved)(?:\s+by\s+[\w ]+?)?[^\w\])>]*[\])>]"
    r"[^\w\[(<]*)+"
)


class Prompt(NamedTuple):
    """A prompt as text, and the conversation in it."""

    text: str
    conversation: str


class _Message(NamedTuple):
    role: str
    text: str | None


def read_prompt(value: Any) -> Prompt:
    """The prompt and its conversation: the part after the marker. Raises BadRowError."""
    messages = _messages(value, "user")
    if messages is None:
        return _prompt([], value)
    users = [number for number, message in enumerate(messages) if message.role == "user"]
    if not users or messages[users[-1]].text is None:
        raise BadRowError("no user message with text")
    last = messages[users[-1]].text or ""
    turns = [
        (m.role, m.text.strip()) for m in messages[: users[-1]] if m.role in _SPEAKERS and m.text
    ]
    return _prompt([turn for turn in turns if turn[1]], last)


def _prompt(earlier: list[tuple[str, str]], last: str) -> Prompt:
    """The prompt of earlier turns and the last post."""
    check_unicode("".join(text for _, text in earlier) + last)
    conversation = _after_marker(last)
    if is_deleted(conversation):
        raise BadRowError("the post is deleted")
    if not earlier:
        return Prompt(last, conversation)
    turns = [(role, _after_marker(text)) for role, text in earlier]
    kept = [(role, text) for role, text in turns if text and not is_deleted(text)]
    return Prompt(_written([*earlier, ("user", last)]), _written([*kept, ("user", conversation)]))


def read_completion(value: Any) -> str:
    """The text of the last assistant message, or the value itself if it is text.

    Raises BadRowError.
    """
    messages = _messages(value, "assistant")
    if messages is None:
        return check_unicode(value)
    texts = [message.text for message in messages if message.role == "assistant"]
    if not texts or texts[-1] is None:
        raise BadRowError("no assistant message with text")
    return check_unicode(texts[-1])


def is_deleted(post: str) -> bool:
    """Whether a post is only a mark of its deletion: [deleted], [removed], [deleted by user]."""
    lines = [_without_speaker(line.strip()) for line in post[: _MAX_DELETED + 1].splitlines()]
    texts = [line for line in lines if line]
    return bool(texts) and len(post) <= _MAX_DELETED and all(map(_DELETED.fullmatch, texts))


def is_plain(value: Any, role: str) -> bool:
    """Whether a value is text, or messages of which only the last one of a role counts.

    These are the forms that were read from the beginning; the others give an artifact another id.
    """
    if isinstance(value, str):
        return not _is_chat_text(value)
    if not isinstance(value, list) or not all(isinstance(message, dict) for message in value):
        return not isinstance(value, dict)
    roles = [message.get("role") for message in value]
    if role not in roles:
        return set(roles) <= {"user", "assistant", "system", "developer"}
    last = len(roles) - 1 - roles[::-1].index(role)
    is_text = isinstance(value[last].get("content"), str)
    return is_text and (role == "assistant" or {*roles[:last]} <= {"system", "developer"})


def _messages(value: Any, role: str) -> list[_Message] | None:
    """The messages in a value; None for text that is none. Raises BadRowError."""
    if isinstance(value, str):
        if not _is_chat_text(value):
            return None
        value = parse_text(value)
        if value is None:
            raise BadRowError("chat messages as text that is neither JSON nor a Python list")
    if isinstance(value, dict):
        value = next((value[key] for key in _LIST_KEYS if key in value), [value])
    if not isinstance(value, list) or not all(isinstance(message, dict) for message in value):
        raise BadRowError(f"the {role} text is neither text nor chat messages")
    return [_message(message, role) for message in value]


def _is_chat_text(text: str) -> bool:
    """Whether a text begins as an object or a list of objects does and has a key of messages."""
    return bool(_OBJECT_START.match(text) and _CHAT_KEY.search(text))


def parse_text(text: str) -> Any:
    """The value of a text in JSON, or as Python writes lists; None if it is neither."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text.strip()) if len(text) <= _MAX_LITERAL else None
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


def _message(message: dict[str, Any], wanted: str) -> _Message:
    name = next((message[key] for key in _ROLE_KEYS if message.get(key) is not None), None)
    if name is None:
        raise BadRowError(f"no {wanted} message with text")
    role = _ROLES.get(str(name).lower(), "" if name in _OTHER_ROLES else None)
    if role is None:
        raise BadRowError(f"a message of the unknown speaker {str(name)[:40]!r}")
    content = next((message[key] for key in _TEXT_KEYS if message.get(key) is not None), None)
    return _Message(role, None if content is None or not role else _content(content, wanted))


def _content(content: Any, wanted: str) -> str:
    """The text of a message: text, or the texts of its parts. Raises BadRowError."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        raise BadRowError(f"no {wanted} message with text")
    texts = []
    for part in content:
        text = part.get("text") if isinstance(part, dict) else part
        if isinstance(text, dict):  # as the assistants API writes it
            text = text.get("value")
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            raise BadRowError(f"a part of a message is no text but {str(kind)[:40]}")
        texts.append(text)
    return "\n".join(texts)


def _after_marker(text: str) -> str:
    before, marker, after = text.partition(CONVERSATION_MARKER)
    return (after if marker else before).strip()


def _without_speaker(line: str) -> str:
    found = next((m for p in _NAMED_SPEAKERS.values() if (m := p.match(line))), None)
    return line[found.end() :].strip() if found else line


def _written(turns: list[tuple[str, str]]) -> str:
    """Turns as text, each with its speaker unless its text names that one."""
    return "\n".join(
        text if _NAMED_SPEAKERS[role].match(text) else f"{_SPEAKERS[role]}: {text}"
        for role, text in turns
    )
