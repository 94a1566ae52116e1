"""The two ends of a text that is too long to be read whole.

Both, because a post starts with the request and a dialogue ends with it. The judge, the student and
the embedding of a conversation each have their own limit, share of the start, and mark between.
"""

from __future__ import annotations

from typing import AnyStr


def both_ends(text: AnyStr, start: int, end: int) -> tuple[AnyStr, AnyStr]:
    """The first `start` and the last `end` characters (or bytes); they overlap in a short text."""
    return text[:start], text[max(0, len(text) - end) :]
