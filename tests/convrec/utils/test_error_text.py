"""Errors as one line of a message."""

from __future__ import annotations

import pytest

from convrec.utils.error_text import first_line, type_and_first_line

MESSAGES = [
    ("No such file", "No such file", "ValueError: No such file"),
    ("\nParser Error: near x.\nLINE 1: x\n", "Parser Error: near x", None),
    ("", "ValueError", "ValueError: no message"),
    ("  \n", "ValueError", "ValueError: no message"),
]


@pytest.mark.parametrize(("message", "line", "with_type"), MESSAGES)
def test_an_error_becomes_one_line(message: str, line: str, with_type: str | None) -> None:
    error = ValueError(message)
    assert first_line(error) == line
    assert type_and_first_line(error) == (with_type or f"ValueError: {line}")
