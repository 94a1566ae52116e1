"""The form of the prompts in the data: one template around every conversation.

With `model.prompt=given` a student is trained on prompts that the data bring. The authors' begin
with an instruction and "Here is the conversation: USER:". A text of a user needs the same around
it, so the checkpoint's manifest records it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

Value = TypeVar("Value")

PLACE = "{conversation}"

_SHARE = 0.95
"""Share of the prompts that must have a form for it to be that of the data."""

_LABEL = re.compile(r"[A-Za-z]+:\s+")
"""The speaker that a conversation begins with."""


def common_template(prompts: Iterable[tuple[str, str | None]]) -> str | None:
    """The template of (conversation, prompt) pairs, with {conversation} at its place.

    Literal braces are doubled, as in `domain.student`. A speaker that conversations begin with is
    part of the template. None if nearly all prompts have no template in common.
    """
    forms: Counter[tuple[str, str] | None] = Counter()
    labels: Counter[str] = Counter()
    for conversation, prompt in prompts:
        form = _parts_around(conversation.strip(), (prompt or "").strip())
        forms[form] += 1
        found = _LABEL.match(conversation.strip())
        labels[found[0] if found else ""] += 1
    form, label = _most(forms), _most(labels) or ""
    if form is None:
        return None
    before, after = (part.replace("{", "{{").replace("}", "}}") for part in form)
    return f"{before}{label}{PLACE}{after}"


def _parts_around(conversation: str, prompt: str) -> tuple[str, str] | None:
    """What precedes and follows the conversation in a prompt that has it, at its end if it may."""
    if not conversation:
        return None
    before, found, after = prompt.rpartition(conversation)
    return (before, after) if found else None


def _most(counts: Counter[Value]) -> Value | None:
    """The value that nearly all have; None if there is no such value."""
    if not counts:
        return None
    value, count = counts.most_common(1)[0]
    return value if count >= _SHARE * counts.total() else None
