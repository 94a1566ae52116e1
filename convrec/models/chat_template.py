"""The chat template around one message of the user, up to where the answer begins.

The template gets no system message, so one without that role works. A template that reads the
clock, or `date_string`, gets a constant day: prompts of training and of serving would differ
otherwise. `fix_template_date` writes that day into the template, so it is saved with a checkpoint,
and the checkpoint keeps its day in any program that uses it.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from jinja2 import TemplateError

from convrec.errors import InputError
from convrec.models.tokenizer_files import DATE_PREFIX, template_date
from convrec.utils.error_text import first_line

TEMPLATE_DATE = date(2024, 7, 26)
"""The day that a chat template writes; the default of Llama 3's."""

_QUESTION, _ANSWER = "Which film fits?", "Heat (1995)"

_CLOCK_CALL = re.compile(r"""\bstrftime_now\s*\(\s*(?:format\s*=\s*)?(["'])(.*?)\1\s*\)""")
_CLOCK_TEST = re.compile(r"\bstrftime_now\s+is\b|\b(?:if|and|or|not)\s+strftime_now\b(?!\s*\()")
_READS_DATE = re.compile(r"\b(?:date_string|strftime_now)\b")


def apply_template(tokenizer: Any, text: str) -> str:
    """The chat template around a user message, up to the answer.

    Without a chat template, the text and a blank line. Raises InputError for a template that fails.
    """
    if tokenizer.chat_template is None:
        return f"{text}\n\n"
    template = dated_template(tokenizer.get_chat_template(), TEMPLATE_DATE)
    messages = [{"role": "user", "content": text}]
    try:
        rendered: str = _render(tokenizer, template, messages, add_generation_prompt=True)
    except (TemplateError, ValueError, TypeError, LookupError, ArithmeticError) as error:
        raise InputError(
            f"the model's chat template cannot render one message of the user "
            f"({first_line(error)}); mend chat_template.jinja in the model's folder, or remove it "
            "to use the text alone"
        ) from None
    return rendered + _answer_start(tokenizer, template)


def fix_template_date(tokenizer: Any) -> None:
    """Write TEMPLATE_DATE into the tokenizer's chat template if the template reads the day.

    A template that has its day, as that of a checkpoint, keeps it. Raises InputError as
    `dated_template`.
    """
    if tokenizer.chat_template is None:
        return
    template = tokenizer.get_chat_template()
    dated = dated_template(template, TEMPLATE_DATE)
    if dated != template:
        tokenizer.chat_template = dated


@lru_cache(maxsize=8)
def dated_template(template: str, day: date) -> str:
    """A chat template that writes `day` where it would read the clock or `date_string`.

    Raises InputError if a format of the date is not written out in the template.
    """
    if not _READS_DATE.search(template) or template_date(template):
        return template
    fixed = _CLOCK_CALL.sub(lambda call: repr(day.strftime(call[2])), template)
    if "strftime_now" in _CLOCK_TEST.sub("", fixed):
        raise InputError(
            "the model's chat template reads the clock in a way that cannot be fixed to one day, "
            "so prompts would change from day to day; write a date in place of strftime_now in "
            "chat_template.jinja in the model's folder"
        )
    return DATE_PREFIX.format(day.strftime("%d %b %Y")) + fixed


def has_answer_start(tokenizer: Any) -> bool:
    """Whether something separates the text of the user from the answer."""
    return not apply_template(tokenizer, _QUESTION).rstrip().endswith(_QUESTION)


def _answer_start(tokenizer: Any, template: str) -> str:
    """What precedes an answer, for a template that ignores `add_generation_prompt`; else empty.

    It is what the template writes between the messages of the user and of the assistant. Empty for
    templates that write nothing there, such as `[INST] … [/INST]`.
    """
    cached = _answer_starts.get(tokenizer)
    if cached is None or cached[0] != template:
        cached = (template, _find_answer_start(tokenizer, template))
        _answer_starts[tokenizer] = cached
    return cached[1]


_answer_starts: WeakKeyDictionary[Any, tuple[str, str]] = WeakKeyDictionary()


def _find_answer_start(tokenizer: Any, template: str) -> str:
    messages = [{"role": "user", "content": _QUESTION}]
    answered = [*messages, {"role": "assistant", "content": _ANSWER}]
    try:
        with_prompt, without, whole = (
            _render(tokenizer, template, *arguments)
            for arguments in ((messages, True), (messages, False), (answered, False))
        )
    except (TemplateError, ValueError, TypeError, LookupError, ArithmeticError):
        return ""  # such as a template that expects no answer
    before, answer, _ = whole.partition(_ANSWER)
    if with_prompt != without or not answer or not before.startswith(without):
        return ""
    start: str = before[len(without) :]
    return start if start.strip() else ""


def _render(
    tokenizer: Any, template: str, messages: list[dict[str, str]], add_generation_prompt: bool
) -> Any:
    return tokenizer.apply_chat_template(
        messages,
        add_generation_prompt=add_generation_prompt,
        tokenize=False,
        chat_template=template,
    )
