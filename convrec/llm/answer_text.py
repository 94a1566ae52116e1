"""Take the answer out of what a model wrote: without thinking, control tokens and code fence.

All patterns are bounded, so that reading is linear in the text.
"""

from __future__ import annotations

import json
import re

from convrec.llm.thinking import LINE_START, without_thinking

_START = re.compile(
    r"""(?:\s
    | <s> | <bos> | <\|begin_of_text\|> | <\|im_start\|>[ ]?assistant\b
    | <\|start\|>assistant<\|message\|> | <start_of_turn>model\b | <\|turn>model\b
    | <\|assistant\|> | <｜Assistant｜> | <\|START_RESPONSE\|> | <\|START_TEXT\|>
    | <\|start_header_id\|>assistant<\|end_header_id\|> | <\|begin_of_solution\|>
    | <\|CHATBOT_TOKEN\|> | <\|START_OF_TURN_TOKEN\|> | <\|begin_of_box\|> | \[/INST\]
    )*""",
    re.VERBOSE,
)
_END = re.compile(
    r"<\|(?:im_end|eot_id|eom_id|eot|end_of_text|endoftext|end|return|eos|END_RESPONSE|END_TEXT"
    r"|END_OF_TURN_TOKEN|end_of_solution|end_of_box|im_start|start_header_id|user)\|>"
    r"|<end_of_turn>|<start_of_turn>|<turn\|>|<eos>|<pad>|<｜end▁of▁sentence｜>|<｜User｜>"
    r"|\[INST\]|\[END FINAL RESPONSE\]"
    r"|</s>(?=[ \t]*(?:\n|\Z|</s>|<))"
)
_ANSWER_TAG = re.compile(r"<(answer|output|response|final(?:_answer)?|result|solution)>", re.I)
_FENCE = re.compile(r"^[ \t]{0,8}(?:`{3,9}|~{3,9})[ \t]*[\w+-]{0,20}[ \t]*\r?$", re.MULTILINE)
_INLINE_FENCE = re.compile(r"\s*(?:`{3,9}|~{3,9})(?:[a-zA-Z]{1,20}(?=[\s\[{]))?")
_STRING = re.compile(r'\s*(?:\{\s*"\w{1,40}"\s*:\s*)?"')


def clean_text(text: str) -> tuple[str, bool]:
    """(the answer in a text, whether there is thinking without an answer).

    The answer is blank if there is none, and the text itself if nothing has to be taken off. It
    ends in a newline if its last line is complete, even if the text was cut later.
    """
    answer, has_thought = without_thinking(text.replace("\ufeff", "").replace("\0", ""))
    answer = _inside_answer_tag(_without_control_tokens(answer))
    answer = _unescaped(_without_fence(answer))
    return answer, has_thought and not answer.strip()


def _without_control_tokens(text: str) -> str:
    """The text of the assistant's turn: from its start tokens to its first end token."""
    opening = _START.match(text)
    start = opening.end() if opening and opening[0].strip() else 0
    for end in _END.finditer(text, start):
        turn = text[start : end.start()]
        if turn.strip():
            return turn
        start = end.end()
    return text[start:]


def _inside_answer_tag(text: str) -> str:
    """What an `<answer>` tag contains, if the model wrote one; else the text."""
    tag = _ANSWER_TAG.search(text)
    if tag is None or not LINE_START.match(text[max(0, tag.start() - 9) : tag.start()]):
        return text
    end = re.compile(f"</{tag[1]}>", re.IGNORECASE).search(text, tag.end())
    return f"{text[tag.end() : end.start()]}\n" if end else text[tag.end() :]


def _without_fence(text: str) -> str:
    """What a code fence contains, if that is the answer; else the text without the fences."""
    if "```" not in text and "~~~" not in text:
        return text
    fences = list(_FENCE.finditer(text))
    if 1 <= len(fences) <= 2:
        before, inside, after = _split_at(text, *fences)
        is_answer = inside.lstrip()[:1] in ("[", "{") or _lines(inside) >= _lines(before + after)
        if inside.strip() and is_answer:
            return inside
    text = _FENCE.sub("", text)
    opening = _INLINE_FENCE.match(text)
    return text[opening.end() :].rstrip().rstrip("`~") if opening else text


def _split_at(
    text: str, opening: re.Match[str], closing: re.Match[str] | None = None
) -> tuple[str, str, str]:
    """The text before, inside and after a fence, which need not be closed."""
    end, rest = closing.span() if closing else (len(text), len(text))
    return text[: opening.start()], text[opening.end() : end].lstrip("\r\n"), text[rest:]


def _unescaped(text: str) -> str:
    """The text that a JSON string holds, alone or as the first value of an object.

    Line breaks of a text in one line may be escaped without quotes, too.
    """
    if not _STRING.match(text):
        is_escaped = "\n" not in text and text.count("\\n") > 1 and text[:1] not in ("{", "[")
        return text.replace("\\n", "\n") if is_escaped else text
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return text
    if isinstance(value, dict) and len(value) == 1:
        (value,) = value.values()
    is_answer = isinstance(value, str) and ("\n" in value or value.lstrip()[:1] in ("{", "["))
    return value if is_answer else text


def _lines(text: str) -> int:
    return sum(bool(line.strip()) for line in text.splitlines())
