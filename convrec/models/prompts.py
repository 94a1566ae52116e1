"""What the student reads: the one place where a conversation becomes its prompt.

SFT, Rank-GRPO, evaluation and serving all call this module, so a checkpoint is always asked in the
words and tokens that it was trained on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convrec.errors import ConfigError

if TYPE_CHECKING:
    from convrec.config import Config

_HEAD = 4
"""A prompt that is too long keeps 1/_HEAD of its room from its start, the rest from its end."""

_GAP = " … "


def student_prompt(conversation: str, given_prompt: str | None, config: Config) -> str:
    """The user message for a conversation, in the form that `model.prompt` asks for.

    `given_prompt` is the prompt that the data brings along; `model.prompt=given` needs it and
    raises ConfigError where it is empty.
    """
    if config.model.prompt == "plain":
        return conversation
    if config.model.prompt == "instruct":
        return config.domain.student.format(
            n=config.list_length,
            noun=config.domain.noun,
            plural=config.domain.many,
            form=config.line_format.words,
            conversation=conversation,
        )
    if not (given_prompt or "").strip():
        raise ConfigError(
            "model.prompt=given needs a prompt with every conversation, and one has none; "
            "set model.prompt=instruct or model.prompt=plain"
        )
    return str(given_prompt)


def render_prompt(tokenizer: Any, text: str, max_tokens: int) -> str:
    """The chat template around one user message, ready for the answer, in at most `max_tokens`.

    A text that is too long loses its middle: the start holds the instruction or the question, the
    end what was said last. The template is never cut; ConfigError where it alone is too long.
    Special tokens written in the text are broken up, so that a post cannot end its own turn.
    """
    text = _defused(tokenizer, text.strip())
    whole = _chat(tokenizer, text)
    size = len(_ids(tokenizer, whole))
    if size <= max_tokens:
        return whole
    frame = len(_ids(tokenizer, _chat(tokenizer, "")))
    room = max_tokens - frame
    if room < 1:
        raise ConfigError(
            f"model.max_prompt_tokens={max_tokens} leaves no room for the conversation: the "
            f"model's chat template alone takes {frame} tokens; set it to {frame + 64} or more"
        )
    kept = int(len(text) * room / max(1, size - frame))
    while kept > 0:
        whole = _chat(tokenizer, _middle_out(text, kept))
        if len(_ids(tokenizer, whole)) <= max_tokens:
            return whole
        kept = kept * 15 // 16
    return _chat(tokenizer, "")


def encode_prompt(tokenizer: Any, text: str, max_tokens: int) -> list[int]:
    """Token ids of `render_prompt`."""
    return _ids(tokenizer, render_prompt(tokenizer, text, max_tokens))


def encode_completion(tokenizer: Any, text: str, max_tokens: int) -> list[int]:
    """Token ids of an answer and the end-of-sequence token; an answer cut short has no end."""
    ids = [*_ids(tokenizer, text), tokenizer.eos_token_id]
    return ids[:max_tokens]


def _chat(tokenizer: Any, text: str) -> str:
    """Models without a chat template read the text and a blank line."""
    if tokenizer.chat_template is None:
        return f"{text}\n\n"
    messages = [{"role": "user", "content": text}]
    return tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)


def _ids(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def _middle_out(text: str, kept: int) -> str:
    """About `kept` characters of `text`, cut between words."""
    head, tail = text[: kept // _HEAD], text[len(text) - (kept - kept // _HEAD) :]
    return head.rpartition(" ")[0] + _GAP + (tail.partition(" ")[2] or tail)


def _defused(tokenizer: Any, text: str) -> str:
    for token in tokenizer.all_special_tokens:
        if len(token) > 2 and token in text:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text
