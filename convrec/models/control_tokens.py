"""Control tokens in the texts of users: they stay text, so a post cannot end its own turn.

A tokenizer reads `<|im_end|>` in a post as the token that ends a turn. A space after its first
character makes it text. Control tokens are all special entries of the tokenizer, and added tokens
that look like one and are not marked as special, such as `<｜User｜>` of DeepSeek or `<tool_call>`
of Qwen. HTML tags (Gemma has tokens for them) and words are none.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from convrec.errors import InputError

_IN_BRACKETS = re.compile(r"<\S+>|\[\S+\]")
_LIKE_CONTROL = re.compile(r"<[|｜]\S+[|｜]>|</?\w*_\w*>|\[/?[A-Z][A-Z_]+\]")
_MIN_LENGTH = 3
"""Shorter tokens, such as a newline, are part of ordinary text."""

_ATTEMPTS = 8
_RARE = "\U000f1a2b"
"""A character for private use, in no vocabulary."""


class ControlTokens(NamedTuple):
    """The control tokens of a tokenizer: their ids, and a pattern of their texts."""

    ids: frozenset[int]
    pattern: re.Pattern[str] | None


_cache: WeakKeyDictionary[Any, tuple[object, ControlTokens]] = WeakKeyDictionary()


def control_tokens(tokenizer: Any) -> ControlTokens:
    """The control tokens of a tokenizer, cached until its tokens or its template change."""
    state = (len(tokenizer), str(tokenizer.chat_template), tuple(tokenizer.all_special_tokens))
    cached = _cache.get(tokenizer)
    if cached is None or cached[0] != state:
        cached = (state, _find(tokenizer))
        _cache[tokenizer] = cached
    return cached[1]


def neutralize(tokenizer: Any, text: str) -> str:
    """The text with a space in each control token, so that it is tokenized as text."""
    pattern = control_tokens(tokenizer).pattern
    for _ in range(_ATTEMPTS):
        if pattern is None or not pattern.search(text):
            break
        text = pattern.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
    return text


def neutralize_by_ids(tokenizer: Any, text: str) -> str:
    """As `neutralize`, for texts that become a control token after normalization.

    Raises InputError if the tokenizer cannot say which part of a text a token is.
    """
    control = control_tokens(tokenizer).ids
    for _ in range(_ATTEMPTS):
        encoded = tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=tokenizer.is_fast
        )
        if control.isdisjoint(encoded["input_ids"]):
            return text
        spans = zip(encoded["input_ids"], encoded.get("offset_mapping", ()), strict=False)
        starts = [start for token, (start, end) in spans if token in control and end > start]
        for start in reversed(starts):
            text = f"{text[: start + 1]} {text[start + 1 :]}"
    raise InputError(
        "a conversation contains a control token of the model that cannot be made text; use a "
        "model with another tokenizer, or remove the token from the data"
    )


def count_control_tokens(tokenizer: Any, ids: list[int]) -> int:
    """How many of these ids are control tokens."""
    control = control_tokens(tokenizer).ids
    return sum(token in control for token in ids)


def _find(tokenizer: Any) -> ControlTokens:
    template = str(tokenizer.chat_template or "")
    found = {}
    for number, token in tokenizer.added_tokens_decoder.items():
        text = token.content
        in_template = _IN_BRACKETS.fullmatch(text) and text in template
        if token.special or in_template or _LIKE_CONTROL.fullmatch(text):
            found[text] = number
    for text in tokenizer.all_special_tokens:
        found.setdefault(text, tokenizer.convert_tokens_to_ids(text))
    texts = sorted((text for text in found if len(text) >= _MIN_LENGTH), key=len, reverse=True)
    # The unknown token stands for characters that the vocabulary lacks, in any text.
    unknown = tokenizer(_RARE, add_special_tokens=False)["input_ids"]
    ids = frozenset(found[text] for text in texts) - {*unknown, tokenizer.unk_token_id}
    return ControlTokens(ids, re.compile("|".join(map(re.escape, texts))) if texts else None)
