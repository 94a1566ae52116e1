"""Hostile texts, and what a markdown renderer shows of them."""

from __future__ import annotations

import re

from markdown_it import MarkdownIt

from convrec.utils.markdown import LINE_BREAK_SYMBOL

HOSTILE_TEXTS = [
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


def rendered_texts(source: str) -> list[str]:
    """The paragraphs and table cells of rendered markdown; fails if other tags appear."""
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(source)
    assert not re.search(r"<(?!/?(table|thead|tbody|tr|th|td|p|h2|h3)\b)", html), html
    cells = re.findall(r"<(?:td|p)>(.*?)</(?:td|p)>", html, re.DOTALL)
    entities = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&amp;": "&"}
    return [re.sub(r"&\w+;", lambda match: entities[match[0]], cell) for cell in cells]


def one_line(value: str) -> str:
    """A text as `convrec.utils.markdown` shows it on one line."""
    return re.sub(r"\s*\n+\s*", LINE_BREAK_SYMBOL, value.strip())
