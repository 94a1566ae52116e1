"""Untrusted text is shown literally by markdown and mermaid renderers."""

from __future__ import annotations

import random
import re

import pytest
from markdown_it import MarkdownIt

from convrec.utils import markdown
from tests.support.markdown import HOSTILE_TEXTS, one_line, rendered_texts


@pytest.mark.parametrize("value", HOSTILE_TEXTS)
def test_escaped_text_is_shown_literally(value: str) -> None:
    assert rendered_texts(markdown.escape(value)) == [one_line(value)]


def test_texts_stay_in_their_cells() -> None:
    source = markdown.escaped_table(("a|b", "c"), [(value, 1) for value in HOSTILE_TEXTS])
    expected = [cell for value in HOSTILE_TEXTS for cell in (one_line(value), "1")]
    assert rendered_texts(source) == expected


def test_random_texts_are_shown_literally() -> None:
    rng = random.Random(7)
    characters = [chr(n) for n in range(33, 127)] + [" a", "\n", "é"]
    for _ in range(300):
        value = "x" + "".join(rng.choices(characters, k=rng.randint(1, 40)))
        assert rendered_texts(markdown.escape(value)) == [one_line(value)], value


def test_control_characters_become_spaces() -> None:
    assert markdown.escape("a\x00b\u202ec") == "a b c"


def test_a_long_text_is_cut() -> None:
    assert markdown.escape("abcdef", 4) == "abc…"


def test_a_command_with_backticks_stays_in_its_block() -> None:
    html = MarkdownIt("commonmark").render(markdown.code_block("run `x` ```y```\n# z"))
    assert html == "<pre><code>run `x` ```y```\n# z\n</code></pre>\n"


@pytest.mark.parametrize("value", HOSTILE_TEXTS)
def test_a_mermaid_label_contains_no_mermaid_syntax(value: str) -> None:
    label = markdown.mermaid_label(value)
    assert re.fullmatch(r'"(?:[\w ,.·–—()↵-]|#\d+;)*"', label), label
    decoded = re.sub(r"#(\d+);", lambda match: chr(int(match[1])), label[1:-1])
    assert decoded == one_line(value)
