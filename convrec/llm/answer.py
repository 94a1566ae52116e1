"""Read the answer in a stored response: the text that the model wrote for us, and how it ended.

Endpoints put the text in several places: a string, a list of typed parts, the arguments of a tool
call. Models put more than the answer into it: thinking, control tokens, a code fence. The stored
response is never changed; every reader of responses sees it through `read_answer`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from convrec.llm.answer_text import clean_text
from convrec.utils.unicode_text import to_valid_unicode

FILTERED = "no text: the endpoint's content filter stopped the answer"
"""The reason of an answer that a content filter ended, whatever text came before."""

_CUT_REASONS = {
    *("length", "max_tokens", "max_output_tokens", "model_length", "max_length", "token_limit"),
    *("model_context_window_exceeded", "context_length_exceeded", "insufficient_system_resource"),
    *("error", "abort", "aborted", "cancelled", "incomplete"),
}
_FILTER_REASONS = {
    *("content_filter", "content_filtered", "contentfilter", "guardrail_intervened", "sensitive"),
    *("safety", "prohibited_content", "blocklist", "spii", "recitation", "image_safety"),
}
_THINKING_PARTS = ("thinking", "reasoning", "thought", "summary")
"""Words in the type of a part that is not the answer."""

_PART_FIELDS = ("type", "text", "value", "content", "parts", "output_text", "thought", "json")
"""Fields of a typed part; an object without any is the answer itself, as parsed JSON."""

_THINKING_FIELDS = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
_DATA = re.compile(r"[\[{]|:\s{0,9}-?\d")
"""In the arguments of a tool call: more than texts, such as the query of a search."""

_NEW_LINE = re.compile(r"(?:\d{1,3}[.)]|[-*•])\s")
"""The start of a part that is a list item of its own."""


class Answer(NamedTuple):
    """What a response says.

    `text` is None if it has no answer, and `reason` says why. `is_cut` is True if the model was
    stopped before it was done, so that the end of `text` may be missing. `content` is the string
    content of the first choice as it came, empty if there is none.
    """

    text: str | None
    reason: str = ""
    is_cut: bool = False
    content: str = ""


def read_answer(response: Mapping[str, Any]) -> Answer:
    """The answer in a response: of the first choice that has one.

    A lone surrogate becomes `?`. An answer that a content filter stopped has no text, because
    what came before may end anywhere.
    """
    choices = response.get("choices")
    choices = choices if isinstance(choices, list) else []
    content = _content_string(choices[0]) if choices else ""
    answers = [_read_choice(choice, response) for choice in choices if isinstance(choice, Mapping)]
    first = answers[0] if answers else Answer(None, "no text: empty content")
    best = next((answer for answer in answers if answer.text is not None), first)
    return best._replace(content=content)


def _read_choice(choice: Mapping[str, Any], response: Mapping[str, Any]) -> Answer:
    message = choice.get("message")
    message = message if isinstance(message, Mapping) else choice.get("delta")
    message = message if isinstance(message, Mapping) else {}
    endings = _endings(choice)
    is_cut = bool(endings & _CUT_REASONS)
    if endings & _FILTER_REASONS:
        return Answer(None, FILTERED, is_cut)
    if refusal := to_valid_unicode(_refusal(message) or ""):
        return Answer(None, f"no text: {refusal}", is_cut)
    written = _text(message.get("content")) or _text(choice.get("text"))
    arguments = "\n".join(_tool_arguments(message))
    if arguments and _is_preface(written):
        written = arguments
    text, is_thinking = clean_text(to_valid_unicode(written))
    if text.strip():
        return Answer(text, "", is_cut)
    if "refusal" in endings:
        return Answer(None, "no text: the model refused to answer", is_cut)
    is_thinking = is_thinking or (is_cut and _has_thought(message, response))
    if is_cut:
        when = "while thinking" if is_thinking else "before any text"
        reason = f"no text: the answer ended at its limit {when}; raise max_tokens"
    else:
        reason = f"no text: {'only thinking' if is_thinking else 'empty content'}"
    return Answer(None, reason, is_cut)


def _content_string(choice: object) -> str:
    message = choice.get("message") if isinstance(choice, Mapping) else None
    content = message.get("content") if isinstance(message, Mapping) else None
    return to_valid_unicode(content) if isinstance(content, str) else ""


def _endings(choice: Mapping[str, Any]) -> set[str]:
    """Why the model stopped, in lower case: as the endpoint says, and as its provider said."""
    details = choice.get("finish_details")
    reasons = [choice.get(name) for name in ("finish_reason", "native_finish_reason")]
    reasons += [details.get("type")] if isinstance(details, Mapping) else []
    return {reason.strip().lower() for reason in reasons if isinstance(reason, str)}


def _refusal(message: Mapping[str, Any]) -> str | None:
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal.strip():
        return refusal
    content = message.get("content")
    for part in content if isinstance(content, list) else ():
        if isinstance(part, Mapping) and part.get("type") == "refusal":
            return str(part.get("refusal") or part.get("text") or "the model refused to answer")
    return None


def _text(content: object) -> str:
    """The text of a message's content, or of one part of it; empty if there is none."""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        return _part_text(content)
    if not isinstance(content, list):
        return ""
    if all(isinstance(part, Mapping) and not _part_fields(part) for part in content):
        return json.dumps(content, ensure_ascii=False) if content else ""
    if all(isinstance(part, str) and "\n" not in part for part in content):
        return "\n".join(content)
    return _joined([_text(part) for part in content])


def _part_fields(part: Mapping[str, Any]) -> list[str]:
    return [name for name in _PART_FIELDS if name in part]


def _part_text(part: Mapping[str, Any]) -> str:
    kind = str(part.get("type") or "").lower()
    if part.get("thought") is True or any(word in kind for word in _THINKING_PARTS):
        return ""
    if kind.startswith("server_") or kind.endswith("_result"):  # the endpoint's own search
        return ""
    fields = _part_fields(part)
    if not fields:
        return json.dumps(part, ensure_ascii=False) if part else ""
    for name in ("json", "input"):  # the input of a tool
        if isinstance(part.get(name), (Mapping, list)):
            return json.dumps(part[name], ensure_ascii=False)
    return next(filter(None, (_text(part[name]) for name in fields if name != "type")), "")


def _joined(parts: Sequence[str]) -> str:
    """Parts in a row; a part that starts a list item or a title starts a line."""
    text: list[str] = []
    for part in filter(None, parts):
        last = text[-1][-1] if text else "\n"
        is_item = not (last.isspace() or last.isdigit()) and _NEW_LINE.match(part)
        if is_item or (last == ")" and part[0].isupper()):
            text.append("\n")
        text.append(part)
    return "".join(text)


def _tool_arguments(message: Mapping[str, Any]) -> Iterator[str]:
    """The arguments of tool calls that hold an answer: an endpoint's way to force a JSON schema."""
    calls = message.get("tool_calls")
    calls = calls if isinstance(calls, list) else ()
    functions = [call.get("function") for call in calls if isinstance(call, Mapping)]
    for function in (*functions, message.get("function_call")):
        arguments = function.get("arguments") if isinstance(function, Mapping) else None
        if isinstance(arguments, (Mapping, list)):
            arguments = json.dumps(arguments, ensure_ascii=False)
        if isinstance(arguments, str) and _DATA.search(arguments.lstrip()[1:]):
            yield arguments


def _is_preface(text: str) -> bool:
    """Whether a text next to a tool call only introduces it."""
    return "\n" not in text.strip() and not any(mark in text for mark in "[{")


def _has_thought(message: Mapping[str, Any], response: Mapping[str, Any]) -> bool:
    """Whether the message or the token counts show that the model was thinking."""
    usage = response.get("usage")
    details = usage.get("completion_tokens_details") if isinstance(usage, Mapping) else None
    counted = isinstance(details, Mapping) and details.get("reasoning_tokens")
    is_in_parts = isinstance(message.get("content"), list) and message["content"]
    return bool(counted or is_in_parts or any(message.get(name) for name in _THINKING_FIELDS))
