from __future__ import annotations

import pytest

from convrec.lists import Item, format_line, parse_answer, parse_line


@pytest.mark.parametrize(
    ("line", "item"),
    [
        ("Alien (1979)", Item("Alien", 1979)),
        ("  Alien (1979) ", Item("Alien", 1979)),
        ("(500) Days of Summer (2009)", Item("(500) Days of Summer", 2009)),
        ("Alien", Item("Alien", None)),
        ("1. Alien (1979)", Item("1. Alien", 1979)),
        ("1984 (1984)", Item("1984", 1984)),
        ("", None),
        ("   ", None),
    ],
)
def test_a_line_is_read_as_it_is_written(line: str, item: Item | None) -> None:
    assert parse_line(line) == item


def test_lines_come_back() -> None:
    for item in (Item("Alien", 1979), Item("Heat", None)):
        assert parse_line(format_line(*item)) == item


def test_an_answer_is_read_forgivingly() -> None:
    text = 'Some films:\n\n1. **Alien** (1979)\n2) "Heat" (1995)\n- 13th\n• *Up* (2009)\n20. 1917'
    assert [item for _, item in parse_answer(text)] == [
        Item("Alien", 1979),
        Item("Heat", 1995),
        Item("13th", None),
        Item("*Up*", 2009),
        Item("1917", None),
    ]
