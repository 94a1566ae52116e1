"""Tell a model's thinking from its answer.

Chat templates give thinking its own tokens, and endpoints without a parser for them leave them in
the text: DeepSeek and Qwen `<think>…</think>`, of which the template may have written the first;
gpt-oss channels; Magistral `[THINK]`; Kimi `◁think▷`; Cohere `<|START_THINKING|>`; Gemma
`<|channel>thought`. All patterns are bounded, so that reading is linear in the text.
"""

from __future__ import annotations

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
        | <\|end_of_thought\|> | <\|END_THINKING\|> | <\|inner_suffix\|>
        | <\|im_start\|>[ ]?answer\b | <\|content\|>
        | \[BEGIN[ ]FINAL[ ]RESPONSE\]
    )
    | (?P<empty> (?:<|&lt;)\|?{_NAME}[ ]?/(?:>|&gt;) )
    | (?P<open>
        (?:<|&lt;)\|?[ ]?{_NAME}(?:\s[^<>\n]{{0,80}})?\|?(?:>|&gt;)
        | ◁think▷ | \[THINK(?:ING)?\] | <details[ ]type=.?reasoning[^<>\n]{{0,80}}>
        | <\|channel>thought | <unused94>(?:thought)?
        | <\|inner_prefix\|> | <\|im_start\|>[ ]?think\b
        | <\|begin_of_thought\|> | <\|START_THINKING\|>
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_TAG_START = re.compile(r"[<\[◁&]")
_YEAR = re.compile(r"[^\S\n]{0,3}[(,]\s?\d{4}\b")
"""After the name of a tag it says that the tag is a title."""
_ITEM = re.compile(r"\s*(?:\(?\d{1,3}[.):]|[-•|])|.*[\"{\[]", re.DOTALL)
"""The start of a line in which a tag is part of a list item or of a JSON string."""
LINE_START = re.compile(r"[\s>`~*_#]*(?:json|text|markdown)?\s*\Z")
"""The end of a line before a tag that begins it."""
_PREFIX = 80
"""Characters before a tag that are looked at."""

_HARMONY = re.compile(
    r"(?:<\|channel\|>|\A)\s{0,3}(\w{1,20})[^<]{0,200}(?:<\|constrain\|>[^<]{0,50})?<\|message\|>"
)
_HARMONY_END = re.compile(r"<\|(?:end|return|call|start|channel)\|>")
_BARE_HARMONY = re.compile(r"\Aanalysis(?=[A-Z])")
_BARE_FINAL = re.compile(r"\A(?:assistant)?final(?=[\dA-Z{\[])")
"""Channels of an endpoint that drops the special tokens: `analysisWe need …assistantfinal1. Heat`,
`final1. Heat`."""

_THINKING_HEADING = re.compile(
    r"\A\s*(?:#{1,4} Thinking\b.*?^#{1,4} Final (?:Answer|Response)\b[^\n]*\n"
    r"|Here(?:'s|[ ]is) my thought process:.*?Here(?:'s|[ ]is) my response:"
    r"|Thinking\.\.\.\n.*?^\.\.\.done thinking\.)",
    re.DOTALL | re.MULTILINE,
)


def without_thinking(text: str) -> tuple[str, bool]:
    """(the text without thinking, whether there was any).

    What precedes a closing tag alone is thinking. An unclosed thought hides what follows it, and a
    single line before it, which only introduces it.
    """
    return _outside_of_tags(_final_channel(_THINKING_HEADING.sub("", text)))


def _final_channel(text: str) -> str:
    """The last final message of a text in gpt-oss channels; an unclosed thought without one."""
    if _BARE_HARMONY.match(text):
        _, found, final = text.partition("assistantfinal")
        return final if found else f"<think>{text}"
    if bare := _BARE_FINAL.match(text):
        return text[bare.end() :]
    messages = list(_HARMONY.finditer(text)) if "<|message|>" in text else []
    if not messages:
        return f"<think>{text}" if text.lstrip().startswith("<|channel|>") else text
    finals = [message for message in messages if message[1].lower() == "final"]
    if not finals:
        return f"<think>{text}"
    start = finals[-1].end()
    end = _HARMONY_END.search(text, start)
    return text[start : end.start() if end else len(text)]


def _outside_of_tags(text: str) -> tuple[str, bool]:
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
    if LINE_START.match(line) and ("\n" in before or start <= _PREFIX):
        return True
    return not _ITEM.match(line) and (start < last_close or is_first_line)
