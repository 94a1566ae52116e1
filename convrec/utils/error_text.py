"""One-line descriptions of errors, for messages and logs."""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """The first line of an error's message without its final period; its type if it has none."""
    return _first_line(error) or type(error).__name__


def type_and_first_line(error: BaseException) -> str:
    """`ValueError: the first line of its message`, for an unexpected error."""
    return f"{type(error).__name__}: {_first_line(error) or 'no message'}"


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0].rstrip(" .\r")
