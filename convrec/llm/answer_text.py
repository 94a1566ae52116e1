"""Take the answer out of what a model wrote: without thinking, control tokens and code fence.

Chat templates give thinking its own tokens, and endpoints without a parser for them leave them in
the text: DeepSeek and Qwen `<think>…</think>`, of which the template may have written the first;
gpt-oss channels; Magistral `[THINK]`; Kimi `◁think▷`; Cohere `<|START_THINKING|>`; Gemma
`<|channel>thought`. All patterns are bounded, so that reading is linear in the text.
"""

from __future__ import annotations

import json
import re

_NAME = (
    r"(?:\w{1,12}[:_-])?"
    r"(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflections?|scratch_?pad|analysis|rationale"
    r"|(?:inner_|internal_)?monologue|chain_of_thought|思考)"
    r"(?:_\w{1,12})?"
)
_TAG = re.compile(
    rf"""
    (?P<close>
        (?:<|&lt;)\|?[ ]?/[ ]?{_NAME}[ ]?\|?(?:>|&gt;)
        | ◁/think▷ | \[/THINK(?:ING)?\] | </details> | <channel\|> | <unused95>
        | <\|end_of_thought\|> | <\|END_THINKING\|> | <\|im_start\|>[ ]?answer\b | <\|content\|>
        | \[BEGIN[ ]FINAL[ ]RESPONSE\]
    )
    | (?P<empty> (?:<|&lt;)\|?{_NAME}[ ]?/(?:>|&gt;) )
    | (?P<open>
        (?:<|&lt;)\|?[ ]?{_NAME}(?:\s[^<>\n]{{0,80}})?\|?(?:>|&gt;)
        | ◁think▷ | \[THINK(?:ING)?\] | <details[ ]type=.?reasoning[^<>\n]{{0,80}}>
        | <\|channel>thought | <unused94>(?:thought)?
        | <\|im_start\|>[ ]?think\b | <\|begin_of_thought\|> | <\|START_THINKING\|>
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_TAG_START = re.compile(r"[<\[◁&]")
_YEAR = re.compile(r"[^\S\n]{0,3}[(,]\s?\d{4}\b")
"""After the name of a tag it says that the tag is a title."""
_ITEM = re.compile(r"\s*(?:\(?\d{1,3}[.):]|[-•|])|.*[\"{\[]", re.DOTALL)
"""The start of a line in which a tag is part of a list item or of a JSON string."""
_LINE_START = re.compile(r"[\s>`~*_#]*(?:json|text|markdown)?\s*\Z")
_PREFIX = 80
"""Characters before a tag that are looked at."""

_HARMONY = re.compile(
    r"(?:<\|channel\|>|\A)\s{0,3}(\w{1,20})[^<]{0,200}(?:<\|constrain\|>[^<]{0,50})?<\|message\|>"
)
_HARMONY_END = re.compile(r"<\|(?:end|return|call|start|channel)\|>")
_BARE_HARMONY = re.compile(r"\Aanalysis(?=[A-Z])")
"""Channels of an endpoint that drops the special tokens: `analysisWe need …assistantfinal1. Heat`.
"""

_THINKING_HEADING = re.compile(
    r"\A\s*(?:#{1,4} Thinking\b.*?^#{1,4} Final (?:Answer|Response)\b[^\n]*\n"
    r"|Here(?:'s|[ ]is) my thought process:.*?Here(?:'s|[ ]is) my response:"
    r"|Thinking\.\.\.\n.*?^\.\.\.done thinking\.)",
    re.DOTALL | re.MULTILINE,
)

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
    text = _THINKING_HEADING.sub("", text.replace("\ufeff", "").replace("\0", ""))
    answer, has_thought = _without_thinking(_final_channel(text))
    answer = _without_fence(_inside_answer_tag(_without_control_tokens(answer)))
    answer = _unescaped(answer)
    return answer, has_thought and not answer.strip()


def _final_channel(text: str) -> str:
    """The last final message of a text in gpt-oss channels; an unclosed thought without one."""
    if _BARE_HARMONY.match(text):
        _, found, final = text.partition("assistantfinal")
        return final if found else f"<think>{text}"
    messages = list(_HARMONY.finditer(text)) if "<|message|>" in text else []
    if not messages:
        return f"<think>{text}" if text.lstrip().startswith("<|channel|>") else text
    finals = [message for message in messages if message[1].lower() == "final"]
    if not finals:
        return f"<think>{text}"
    start = finals[-1].end()
    end = _HARMONY_END.search(text, start)
    return text[start : end.start() if end else len(text)]


def _without_thinking(text: str) -> tuple[str, bool]:
    """(the text outside of thinking, whether there was any).

    What precedes a closing tag alone is thinking. An unclosed thought hides what follows it, and a
    single line before it, which only introduces it.
    """
    starts = (mark.start() for mark in _TAG_START.finditer(text))
    found = (tag for start in starts if (tag := _TAG.match(text, start)))
    tags = [tag for tag in found if not _YEAR.match(text, tag.end())]
    last_close = max((tag.start() for tag in tags if tag["close"]), default=-1)
    kept: list[str] = []
    position, inside, closed = 0, False, False
    for tag in tags:
        if tag["close"] and not _is_other_close(tag[0], inside):
            if not inside and closed and tag is tags[-1] and not text[tag.end() :].strip():
                kept.append(text[position : tag.start()])
            elif not inside:
                kept.clear()
            position, inside, closed = tag.end(), False, True
        elif not inside and tag["empty"]:
            kept.append(text[position : tag.start()])
            position, closed = tag.end(), True
        elif not inside and tag["open"] and _opens(text, tag.start(), last_close):
            kept.append(text[position : tag.start()])
            position, inside = tag.end(), True
    if not inside:
        kept.append(text[position:])
    elif not closed and sum(bool(line.strip()) for line in "".join(kept).splitlines()) < 2:
        return "", True
    if not (inside or closed):
        return text, False
    return "\n".join(part for part in kept if part.strip()), True


def _is_other_close(tag: str, inside: bool) -> bool:
    """Whether a closing tag that HTML has, too, closes nothing of ours."""
    return tag.lower() == "</details>" and not inside


def _opens(text: str, start: int, last_close: int) -> bool:
    """Whether an opening tag begins a thought, and is no part of a list item or a JSON string."""
    before = text[max(0, start - _PREFIX) : start]
    is_first_line = "\n" not in before.lstrip() and start <= _PREFIX
    line = before.rpartition("\n")[2]
    if _LINE_START.match(line) and ("\n" in before or start <= _PREFIX):
        return True
    return not _ITEM.match(line) and (start < last_close or is_first_line)


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
    if tag is None or not _LINE_START.match(text[max(0, tag.start() - 9) : tag.start()]):
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
    before, inside = text[: opening.start()], text[opening.end() :].lstrip("\r\n")
    if closing is None:
        return before, inside, ""
    return before, text[opening.end() : closing.start()].lstrip("\r\n"), text[closing.end() :]


def _unescaped(text: str) -> str:
    """The text that a JSON string holds, alone or as the first value of an object.

    Line breaks of a text in one line may be escaped without quotes, too.
    """
    if not _STRING.match(text):
        is_escaped = "\n" not in text and text.count("\\n") > 1 and text[:1] not in ("{", "[")
        return text.replace("\\n", "\n") if is_escaped else text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if isinstance(value, dict) and len(value) == 1:
        (value,) = value.values()
    is_answer = isinstance(value, str) and ("\n" in value or value.lstrip()[:1] in ("{", "["))
    return value if is_answer else text


def _lines(text: str) -> int:
    return sum(bool(line.strip()) for line in text.splitlines())
