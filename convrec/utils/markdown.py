"""Untrusted text in markdown and in mermaid diagrams.

Posts, titles, reasons and file names may contain tags, pipes, backticks or mermaid syntax. A
renderer shows the results of these functions as the original text, without any effect.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

LINE_BREAK_SYMBOL = " ↵ "
"""Shown in place of a line break in a text on one line."""

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")
_MERMAID_UNSAFE = re.compile(r"[^\w ,.·–—()-]|[_]")
_WHITESPACE = re.compile(r"\s+")
_LINE_BREAKS = frozenset("\r\n\u2028\u2029\x0b\x0c\x85")
_DIRECTION_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def escape(value: object, max_length: int = 0) -> str:
    """Markdown that shows `value` literally, on one line; also valid in a table cell.

    A text longer than `max_length`, if given, is cut and ends in an ellipsis.
    """
    return _PUNCTUATION.sub(_escape_character, _one_line(value, max_length))


def escaped_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], max_length: int = 0
) -> str:
    """A markdown table of untrusted texts; cells are cut to `max_length`, if given."""
    cells = [[escape(cell, max_length) for cell in row] for row in rows]
    return markdown_table([escape(column) for column in columns], cells)


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A markdown table of cells that need no escaping."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)


def code_block(command: str) -> str:
    """A fenced code block, with a fence longer than any run of backticks in `command`."""
    longest_run = max((len(run) for run in re.findall(r"`+", command)), default=0)
    fence = "`" * max(3, longest_run + 1)
    return f"{fence}\n{command}\n{fence}"


def mermaid_label(value: object) -> str:
    """`value` as a quoted mermaid label, with special characters as numeric entities."""
    label = _MERMAID_UNSAFE.sub(lambda match: f"#{ord(match[0])};", _one_line(value))
    return f'"{label}"'


def _one_line(value: object, max_length: int = 0) -> str:
    line = _WHITESPACE.sub(_collapse_whitespace, str(value).strip())
    line = "".join(character if _is_visible(character) else " " for character in line)
    if max_length and len(line) > max_length:
        return line[: max_length - 1].rstrip() + "…"
    return line


def _collapse_whitespace(run: re.Match[str]) -> str:
    return run[0] if _LINE_BREAKS.isdisjoint(run[0]) else LINE_BREAK_SYMBOL


def _is_visible(character: str) -> bool:
    """Whether this is neither a control character nor one that changes the writing direction."""
    return unicodedata.category(character) != "Cc" and character not in _DIRECTION_CONTROLS


def _escape_character(match: re.Match[str]) -> str:
    return _ENTITIES.get(match[0]) or f"\\{match[0]}"
