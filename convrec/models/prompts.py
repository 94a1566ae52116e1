"""The student's prompt, the same in SFT, Rank-GRPO, evaluation and serving."""

from __future__ import annotations

from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from convrec.config import Config
from convrec.config.domain import CONVERSATION_MARKER
from convrec.errors import ConfigError, InputError
from convrec.models.chat_template import TEMPLATE_DATE, apply_template
from convrec.models.control_tokens import count_control_tokens, neutralize, neutralize_by_ids
from convrec.utils.both_ends import both_ends

_HEAD_DIVISOR = 4
"""Of a conversation that is too long, 1/_HEAD_DIVISOR of the kept part is its start."""

_ELLIPSIS = " … "
_SPARE = 64
"""Tokens of a conversation in the advice for a limit that is too small."""


class Around(NamedTuple):
    """The parts of a prompt before and after the conversation, such as an instruction."""

    before: str = ""
    after: str = ""


NOTHING = Around()
"""What is around a prompt that is a conversation alone."""


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


def served_prompt(text: str, config: Config) -> str:
    """The user message for a text of a user; `config` is that of the checkpoint's manifest.

    A speaker's label that the instruction ends with ("USER:") is not repeated. Raises InputError
    for a checkpoint of `model.prompt=given` whose manifest has no template of its prompts.
    """
    if config.model.prompt == "given":
        raise InputError(
            "the checkpoint was trained on prompts of the data (model.prompt=given) that have no "
            "instruction in common, or by a version that did not record it, so a text cannot be "
            "put into their form; train again, with model.prompt=instruct if it is not recorded "
            "again"
        )
    before = _instruction(config).before.split()
    label = before[-1] if before and before[-1].endswith(":") else ""
    text = text.strip()
    return student_prompt(text.removeprefix(label).lstrip() if label else text, None, config)


def around_conversation(text: str, config: Config) -> Around:
    """What is around the conversation in a student's prompt, in the form of `model.prompt`.

    Nothing where the prompt does not have that form: then all of it is the conversation.
    """
    if config.model.prompt == "given":
        before, marker, _ = text.strip().partition(CONVERSATION_MARKER)
        return Around(before + marker if marker else "")
    around = _instruction(config)
    around = Around(around.before.lstrip(), around.after.rstrip())
    return around if _is_around(text.strip(), around) else NOTHING


def render_prompt(tokenizer: Any, text: str, max_tokens: int, around: Around = NOTHING) -> str:
    """The chat template around one user message, up to the answer, in at most `max_tokens`.

    A conversation that is too long loses its middle: its start holds the question, its end the
    latest turn. The instruction `around` it stays whole. Raises ConfigError if template and
    instruction are too long. Control tokens in the text are broken up, so a post cannot end its own
    turn.
    """
    return _fit(tokenizer, text, max_tokens, around)[0]


def encode_prompt(
    tokenizer: Any, text: str, max_tokens: int, around: Around = NOTHING
) -> list[int]:
    """Token ids of `render_prompt`.

    Without a chat template, the tokens that the tokenizer puts in front of a text (BOS) are in
    front. A template writes them itself.
    """
    return _fit(tokenizer, text, max_tokens, around)[1]


def encode_student_prompt(tokenizer: Any, text: str, config: Config) -> list[int]:
    """Token ids of a student's prompt, in at most `model.max_prompt_tokens`."""
    around = around_conversation(text, config)
    return encode_prompt(tokenizer, text, config.model.max_prompt_tokens, around)


def encode_completion(tokenizer: Any, text: str, max_tokens: int) -> list[int]:
    """Token ids of an answer and EOS.

    An answer that is too long keeps the whole lines that fit, each with its line break, and has no
    EOS: it teaches neither the start of a title nor a short list. It may be empty.
    """
    ids = _token_ids(tokenizer, text)
    if len(ids) < max_tokens:
        return [*ids, tokenizer.eos_token_id]
    if len(ids) == max_tokens:
        return ids
    lines = text.split("\n")
    for count in range(len(lines) - 1, 0, -1):
        ids = _token_ids(tokenizer, "\n".join(lines[:count]) + "\n")
        if len(ids) <= max_tokens:
            return ids
    return []


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


def _instruction(config: Config) -> Around:
    """What `model.prompt` puts around every conversation."""
    place = "\0"
    if config.model.prompt != "instruct":
        return NOTHING
    before, _, after = student_prompt(place, None, config).partition(place)
    return Around(before, after)


def _is_around(text: str, around: Around) -> bool:
    is_long_enough = len(text) >= len(around.before) + len(around.after)
    return is_long_enough and text.startswith(around.before) and text.endswith(around.after)


def _fit(tokenizer: Any, text: str, max_tokens: int, around: Around) -> tuple[str, list[int]]:
    """A rendered prompt and its ids."""
    text = neutralize(tokenizer, text.strip())
    rendered, ids = _rendered(tokenizer, text)
    if count_control_tokens(tokenizer, ids) > _template_size(tokenizer).control_tokens:
        text = neutralize_by_ids(tokenizer, text)
        rendered, ids = _rendered(tokenizer, text)
    if len(ids) <= max_tokens:
        return rendered, ids
    around = Around(*(neutralize(tokenizer, part) for part in around))
    if not _is_around(text, around):
        around = NOTHING
    fixed = _rendered(tokenizer, "".join(around))
    room = max_tokens - len(fixed[1])
    if room < 1:
        raise ConfigError(_no_room(max_tokens, len(fixed[1]), any(around)))
    conversation = text[len(around.before) : len(text) - len(around.after)]
    characters = int(len(conversation) * room / max(1, len(ids) - len(fixed[1])))
    while characters > 0:
        shortened = around.before + _drop_middle(conversation, characters) + around.after
        rendered, ids = _rendered(tokenizer, shortened)
        if len(ids) <= max_tokens:
            return rendered, ids
        characters = characters * 15 // 16
    return fixed


def _no_room(max_tokens: int, size: int, has_instruction: bool) -> str:
    parts = "and the instruction take" if has_instruction else "alone takes"
    return (
        f"model.max_prompt_tokens={max_tokens} leaves no room for the conversation: the model's "
        f"chat template {parts} {size} tokens; set it to {size + _SPARE} or more"
    )


class _TemplateSize(NamedTuple):
    state: object
    control_tokens: int


_sizes: WeakKeyDictionary[Any, _TemplateSize] = WeakKeyDictionary()


def _template_size(tokenizer: Any) -> _TemplateSize:
    """The control tokens of the chat template itself, cached until the tokenizer changes."""
    state = (len(tokenizer), tokenizer.chat_template, TEMPLATE_DATE)
    cached = _sizes.get(tokenizer)
    if cached is None or cached.state != state:
        ids = _rendered(tokenizer, "a")[1]
        cached = _TemplateSize(state, count_control_tokens(tokenizer, ids))
        _sizes[tokenizer] = cached
    return cached


def _rendered(tokenizer: Any, text: str) -> tuple[str, list[int]]:
    rendered = apply_template(tokenizer, text)
    ids = _token_ids(tokenizer, rendered)
    return rendered, ids if tokenizer.chat_template is not None else leading_tokens(tokenizer) + ids


def _token_ids(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _drop_middle(text: str, characters: int) -> str:
    head_size = characters // _HEAD_DIVISOR
    head, tail = both_ends(text, head_size, characters - head_size)
    return head.rpartition(" ")[0] + _ELLIPSIS + (tail.partition(" ")[2] or tail)
