from __future__ import annotations

import random
import re

import pytest
from markdown_it import MarkdownIt

from convrec.utils import markdown

HOSTILE = [
    "<script>alert(1)</script>",
    "a `code` | b || c",
    "``` \n```mermaid\nflowchart",
    "# no heading\n\n- no list\n1. neither",
    "[link](javascript:alert(1)) ![image](x) <b>bold</b> **b** __b__ ~~s~~",
    "https://example.com www.example.com a@b.example",
    "&lt;kept&gt; &amp; \\| \\` \\",
    "$x$ :smile: ^up^ ==mark==",
    "Wall·E (2008) – Amélie",
    "    indented by four",
]


def shown(source: str) -> list[str]:
    """The texts that a CommonMark renderer with tables makes of a source; tags would show."""
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(source)
    cells = re.findall(r"<(?:td|p)>(.*?)</(?:td|p)>", html, re.DOTALL)
    assert not re.search(r"<(?!/?(table|thead|tbody|tr|th|td|p|h2|h3)\b)", html), html
    entities = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&amp;": "&"}
    return [re.sub(r"&\w+;", lambda found: entities[found[0]], cell) for cell in cells]


def one_line(value: str) -> str:
    return re.sub(r"\s*\n+\s*", markdown.LINE_BREAK_SYMBOL, value.strip())


@pytest.mark.parametrize("value", HOSTILE)
def test_a_text_is_shown_as_it_is(value: str) -> None:
    assert shown(markdown.escape(value)) == [one_line(value)]


def test_texts_stay_in_their_cells() -> None:
    source = markdown.escaped_table(("a|b", "c"), [(value, 1) for value in HOSTILE])
    assert shown(source) == [part for value in HOSTILE for part in (one_line(value), "1")]


def test_random_texts_are_shown_as_they_are() -> None:
    rng = random.Random(7)
    signs = [chr(n) for n in range(33, 127)] + [" a", "\n", "é"]
    for _ in range(300):
        value = "x" + "".join(rng.choices(signs, k=rng.randint(1, 40)))
        assert shown(markdown.escape(value)) == [one_line(value)], value


def test_control_signs_and_turned_writing_become_spaces() -> None:
    assert markdown.escape("a\x00b\u202ec") == "a b c"


def test_a_long_text_is_cut() -> None:
    assert markdown.escape("abcdef", 4) == "abc…"


def test_a_command_with_backticks_stays_in_its_block() -> None:
    html = MarkdownIt("commonmark").render(markdown.code_block("run `x` ```y```\n# z"))
    assert html == "<pre><code>run `x` ```y```\n# z\n</code></pre>\n"


@pytest.mark.parametrize("value", HOSTILE)
def test_a_mermaid_label_holds_no_sign_of_mermaid(value: str) -> None:
    label = markdown.mermaid_label(value)
    assert re.fullmatch(r'"(?:[\w ,.·–—()↵-]|#\d+;)*"', label), label
    decoded = re.sub(r"#(\d+);", lambda found: chr(int(found[1])), label[1:-1])
    assert decoded == one_line(value)
