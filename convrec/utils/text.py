"""Text for messages."""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """The first line of an error's message without its final period; its type if it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(" .")
