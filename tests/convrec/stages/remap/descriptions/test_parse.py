"""Descriptions in answers as models write them."""

from __future__ import annotations

import pytest

from convrec.llm.answer import Answer
from convrec.stages.remap.descriptions.parse import (
    MAX_KEYWORD,
    MAX_KEYWORDS,
    MAX_PLOT,
    NO_DESCRIPTION,
    Description,
    read_description,
)

PLOT = "A detective hunts a crew of robbers."


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (f'{{"known": true, "keywords": ["heist", "police"], "plot": "{PLOT}"}}', True),
        (
            f'```json\n{{"keywords": "heist, police,", "plot": "{PLOT}", "known": false}}\n```',
            False,
        ),
        (f"Sure! {{'Keywords': ['heist', 'police', 'heist'], 'Plot': '{PLOT}',}} Enjoy.", True),
        (f'[{{"keywords": ["heist", " police "], "plot": "{PLOT}\\n", "known": "no"}}]', False),
        (f'{{"a": 1}} {{"keywords": ["heist", "police", 7], "plot": "{PLOT}"}}', True),
    ],
)
def test_forms_of_json(text: str, known: bool) -> None:
    found, reason = read_description(Answer(text))
    assert (found, reason) == (Description(known, ["heist", "police"], PLOT), "")


def test_one_of_keywords_and_plot_is_enough() -> None:
    assert read_description(Answer('{"keywords": ["war"]}'))[0] == Description(True, ["war"], "")
    assert read_description(Answer('{"plot": "A war."}'))[0] == Description(True, [], "A war.")


def test_long_values_are_cut() -> None:
    words = ", ".join(f"{'w' * 100}{number}" for number in range(50))
    found, _ = read_description(Answer(f'{{"keywords": "{words}", "plot": "{"x " * 2000}"}}'))
    assert found is not None
    assert found.keywords == ["w" * MAX_KEYWORD]
    assert MAX_PLOT - 1 <= len(found.plot) <= MAX_PLOT
    many = ", ".join(f"w{number}" for number in range(50))
    found, _ = read_description(Answer(f'{{"keywords": "{many}"}}'))
    assert found is not None
    assert len(found.keywords) == MAX_KEYWORDS


@pytest.mark.parametrize(
    "text", ["I do not know this film.", "{}", '{"keywords": [], "plot": ""}', '{"plot": 3}', "["]
)
def test_an_answer_without_a_description_says_so(text: str) -> None:
    assert read_description(Answer(text)) == (None, NO_DESCRIPTION)


def test_no_answer_gives_its_reason() -> None:
    assert read_description(Answer(None, "no text: refused")) == (None, "no text: refused")
