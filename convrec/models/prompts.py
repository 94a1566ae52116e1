"""The student's prompt, the same in SFT, Rank-GRPO, evaluation and serving."""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError

from convrec.config import Config
from convrec.errors import ConfigError, InputError
from convrec.utils.error_text import first_line

_HEAD_DIVISOR = 4
"""Of a text that is too long, 1/_HEAD_DIVISOR of the kept part is its start, the rest its end."""

_ELLIPSIS = " … "

TEMPLATE_DATE = date(2024, 7, 26)
"""The day that a chat template writes; the default of Llama 3's. With the real date, the prompts
of training and of serving would differ."""

_IN_BRACKETS = re.compile(r"<\S+>|\[\S+\]")
_CLOCK_CALL = re.compile(r"""\bstrftime_now\s*\(\s*(?:format\s*=\s*)?(["'])(.*?)\1\s*\)""")
_CLOCK_TEST = re.compile(r"\bstrftime_now\s+is\b|\b(?:if|and|or|not)\s+strftime_now\b(?!\s*\()")


def student_prompt(conversation: str, data_prompt: str | None, config: Config) -> str:
    """The user message for a conversation, in the form that `model.prompt` selects.

    Raises ConfigError if that is `given` and `data_prompt`, the prompt in the data, is empty.
    """
    if config.model.prompt == "plain":
        return conversation
    if config.model.prompt == "instruct":
        return config.domain.student.format(
            n=config.list_length,
            noun=config.domain.noun,
            plural=config.domain.plural_noun,
            form=config.line_format.example,
            conversation=conversation,
        )
    if not (data_prompt or "").strip():
        raise ConfigError(
            "model.prompt=given needs a prompt with every conversation, but one has none; "
            "set model.prompt=instruct or model.prompt=plain"
        )
    return str(data_prompt)


def render_prompt(tokenizer: Any, text: str, max_tokens: int) -> str:
    """The chat template around one user message, up to the answer, in at most `max_tokens`.

    A text that is too long loses its middle: its start holds the instruction or the question, its
    end the latest turn. Raises ConfigError if the template alone is too long. Special tokens in the
    text are broken up, so a post cannot end its own turn.
    """
    text = _break_special_tokens(tokenizer, text.strip())
    rendered = _apply_template(tokenizer, text)
    size = len(_prompt_ids(tokenizer, rendered))
    if size <= max_tokens:
        return rendered
    template_size = len(_prompt_ids(tokenizer, _apply_template(tokenizer, "")))
    room = max_tokens - template_size
    if room < 1:
        raise ConfigError(
            f"model.max_prompt_tokens={max_tokens} leaves no room for the conversation: the "
            f"model's chat template alone takes {template_size} tokens; set it to "
            f"{template_size + 64} or more"
        )
    characters = int(len(text) * room / max(1, size - template_size))
    while characters > 0:
        rendered = _apply_template(tokenizer, _drop_middle(text, characters))
        if len(_prompt_ids(tokenizer, rendered)) <= max_tokens:
            return rendered
        characters = characters * 15 // 16
    return _apply_template(tokenizer, "")


def encode_prompt(tokenizer: Any, text: str, max_tokens: int) -> list[int]:
    """Token ids of `render_prompt`.

    Without a chat template, the tokens that the tokenizer puts in front of a text (BOS) are in
    front. A template writes them itself.
    """
    return _prompt_ids(tokenizer, render_prompt(tokenizer, text, max_tokens))


def encode_completion(tokenizer: Any, text: str, max_tokens: int) -> list[int]:
    """Token ids of an answer and EOS; a truncated answer has no EOS."""
    ids = [*_token_ids(tokenizer, text), tokenizer.eos_token_id]
    return ids[:max_tokens]


def leading_tokens(tokenizer: Any) -> list[int]:
    """The special tokens that the tokenizer puts in front of every text, such as BOS."""
    if tokenizer.num_special_tokens_to_add() == 0:
        return []
    text = _token_ids(tokenizer, "a")
    ids: list[int] = tokenizer("a")["input_ids"]
    for start in range(len(ids) - len(text) + 1):
        if ids[start : start + len(text)] == text:
            return ids[:start]
    return []


@lru_cache(maxsize=4)
def template_without_clock(template: str) -> str:
    """A chat template that writes TEMPLATE_DATE where it would read the clock.

    Raises InputError if a format of the date is not written out in the template.
    """
    fixed = _CLOCK_CALL.sub(lambda call: repr(TEMPLATE_DATE.strftime(call[2])), template)
    if "strftime_now" in _CLOCK_TEST.sub("", fixed):
        raise InputError(
            "the model's chat template reads the clock in a way that cannot be fixed to one day, "
            "so prompts would change from day to day; write a date in place of strftime_now in "
            "chat_template.jinja in the model's folder"
        )
    return fixed


def _apply_template(tokenizer: Any, text: str) -> str:
    if tokenizer.chat_template is None:
        return f"{text}\n\n"
    messages = [{"role": "user", "content": text}]
    try:
        return tokenizer.apply_chat_template(
            messages,
            add_generation_prompt=True,
            tokenize=False,
            date_string=TEMPLATE_DATE.strftime("%d %b %Y"),
            chat_template=template_without_clock(tokenizer.get_chat_template()),
        )
    except (TemplateError, ValueError, TypeError, LookupError, ArithmeticError) as error:
        raise InputError(
            f"the model's chat template cannot render one message of the user "
            f"({first_line(error)}); mend chat_template.jinja in the model's folder, or remove it "
            "to use the text alone"
        ) from None


def _prompt_ids(tokenizer: Any, rendered: str) -> list[int]:
    ids = _token_ids(tokenizer, rendered)
    return ids if tokenizer.chat_template is not None else leading_tokens(tokenizer) + ids


def _token_ids(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def _drop_middle(text: str, characters: int) -> str:
    head_size = characters // _HEAD_DIVISOR
    head, tail = text[:head_size], text[len(text) - (characters - head_size) :]
    return head.rpartition(" ")[0] + _ELLIPSIS + (tail.partition(" ")[2] or tail)


def _break_special_tokens(tokenizer: Any, text: str) -> str:
    for token in _special_tokens(tokenizer):
        if len(token) > 2 and token in text:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


def _special_tokens(tokenizer: Any) -> list[str]:
    """The tokens that have a meaning to the model, also those that no role is assigned to.

    These are `<|eot_id|>` of Llama 3, and what a template writes although it is not marked as
    special, such as `<｜User｜>` of DeepSeek.
    """
    template = str(tokenizer.chat_template or "")
    added = tokenizer.added_tokens_decoder.values()
    others = [
        token.content
        for token in added
        if token.special or (_IN_BRACKETS.fullmatch(token.content) and token.content in template)
    ]
    return list(dict.fromkeys([*tokenizer.all_special_tokens, *others]))
