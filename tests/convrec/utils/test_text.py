"""The first line of an error as part of a message."""

from __future__ import annotations

import pytest

from convrec.utils.text import first_line


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("No such file", "No such file"),
        ("\nParser Error: near x.\nLINE 1: x\n", "Parser Error: near x"),
        ("", "ValueError"),
        ("  \n", "ValueError"),
    ],
)
def test_first_line(message: str, line: str) -> None:
    assert first_line(ValueError(message)) == line
