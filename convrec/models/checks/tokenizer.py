"""Whether a tokenizer fits its model, and keeps conversations and lists as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convrec.config import Config
from convrec.errors import InputError
from convrec.models.chat_template import has_answer_start
from convrec.models.control_tokens import control_tokens
from convrec.models.prompts import (
    encode_completion,
    encode_prompt,
    encode_student_prompt,
    render_prompt,
    student_prompt,
)

_CONVERSATION = "Loved Heat (1995) & 'Ronin' <3\nWhat is \"like\" it?"
_LIST = "Heat (1995)\nRonin (1998)"
_LONG = 50
"""Repetitions that make a long conversation."""

_ROOM = 1 << 20
"""Tokens that hold any template."""


def check_tokenizer(folder: Path, tokenizer: Any, model: Any, config: Config) -> str:
    """Check special tokens, ids, the round trip of a list and the chat template.

    Raises InputError for the first defect, ConfigError if template and instruction fill a prompt.
    """
    if tokenizer.eos_token_id is None:
        raise InputError(
            f"the tokenizer of {folder} has no end-of-sequence token, so lists would have no end; "
            "set eos_token in its tokenizer_config.json"
        )
    rows = model.get_input_embeddings().weight.shape[0]
    _check_ids(folder, tokenizer, rows)
    _check_round_trip(folder, tokenizer)
    _check_template(folder, tokenizer)
    ids = encode_prompt(tokenizer, _CONVERSATION, _ROOM)
    if max(ids) >= rows:
        raise InputError(_outside(folder, "a prompt", max(ids), rows))
    if tokenizer.bos_token_id is not None and ids[:2] == [tokenizer.bos_token_id] * 2:
        raise InputError(
            f"the chat template of {folder} writes {tokenizer.bos_token} twice in front of a "
            "prompt; remove one from chat_template.jinja there"
        )
    _check_control_tokens(tokenizer)
    _check_room(tokenizer, config)
    source = "its chat template" if tokenizer.chat_template is not None else "no chat template"
    return f"prompts have {source} and start with {tokenizer.decode(ids[:1])!r}"


def _check_control_tokens(tokenizer: Any) -> None:
    """A post of all control tokens must be text. Raises InputError if it cannot be."""
    texts = map(tokenizer.convert_ids_to_tokens, sorted(control_tokens(tokenizer).ids))
    encode_prompt(tokenizer, " ".join([_CONVERSATION, *texts]), _ROOM)


def _check_room(tokenizer: Any, config: Config) -> None:
    """Template and instruction must leave room for a conversation."""
    conversation = "word " * config.model.max_prompt_tokens
    is_given = config.model.prompt == "given"
    prompt = conversation if is_given else student_prompt(conversation, None, config)
    encode_student_prompt(tokenizer, prompt, config)


def _check_ids(folder: Path, tokenizer: Any, rows: int) -> None:
    """Every id that a text can have must have an embedding."""
    for name in ("eos", "pad", "bos"):
        token = getattr(tokenizer, f"{name}_token_id")
        if token is not None and token >= rows:
            raise InputError(_outside(folder, f"the tokenizer's {name}_token", token, rows))
    special = {id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.special}
    outside = [id_ for id_ in range(rows, len(tokenizer)) if id_ not in special]
    if outside:
        raise InputError(
            _outside(folder, f"{len(outside)} of the tokenizer's tokens", outside[-1], rows)
        )


def _outside(folder: Path, what: str, token: int, rows: int) -> str:
    return (
        f"the model in {folder} has embeddings for ids below {rows:,}, but {what} has id "
        f"{token:,}; use the tokenizer that belongs to the model, or enlarge it with "
        "resize_token_embeddings and save it again"
    )


def _check_round_trip(folder: Path, tokenizer: Any) -> None:
    ids = encode_completion(tokenizer, _LIST, _ROOM)[:-1]
    text = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    if [line.strip() for line in text.strip().split("\n")] != _LIST.split("\n"):
        raise InputError(
            f"the tokenizer of {folder} turns the list {_LIST!r} into {text[:60]!r}, but a list "
            "has one title a line; use a model whose tokenizer keeps line breaks and "
            "all characters"
        )


def _check_template(folder: Path, tokenizer: Any) -> None:
    rendered = render_prompt(tokenizer, _CONVERSATION, _ROOM)
    long = "\n".join([_CONVERSATION] * _LONG)
    if _CONVERSATION not in rendered or long not in render_prompt(tokenizer, long, _ROOM):
        raise InputError(
            f"the chat template of {folder} loses the text of a message (it may expect parts "
            "instead of a text, or another role); mend chat_template.jinja there, "
            "or remove it to use the text alone"
        )
    if not has_answer_start(tokenizer):
        raise InputError(
            f"the chat template of {folder} ends with the user's text: it has no generation "
            "prompt, so an answer would continue that text; add one to chat_template.jinja there, "
            "or remove the template to use the text alone"
        )
    if render_prompt(tokenizer, _CONVERSATION, _ROOM) != rendered:
        raise InputError(
            f"the chat template of {folder} renders the same message in two ways; mend "
            "chat_template.jinja there"
        )
