"""Text from outside, made safe to stand in markdown and in mermaid drawings.

Posts, titles, reasons and file names may hold anything: tags, pipes, backticks, mermaid's own
signs. What these functions give is shown by a renderer as the text that went in, and does nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")
_MERMAID_SAFE = re.compile(r"[^\w ,.·–—()-]|[_]")
_SPACE = re.compile(r"\s+")
_BREAKS = frozenset("\r\n\u2028\u2029\x0b\x0c\x85")
LINE_BREAK_SYMBOL = " ↵ "
"""Stands for a line break where a text has to stay on one line."""


def escape(value: object, longest: int = 0) -> str:
    """`value` as markdown that shows it as it is, on one line; also right in a cell of a table.

    With `longest` what is longer is cut, and ends in an ellipsis.
    """
    return _PUNCTUATION.sub(_escaped, _one_line(value, longest))


def escaped_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], longest: int = 0
) -> str:
    """A markdown table of texts from outside; a number is set to the right."""
    lines = [[escape(cell, longest) for cell in row] for row in rows]
    head = f"| {' | '.join(map(escape, columns))} |"
    return "\n".join([head, "|---" * len(columns) + "|", *(f"| {' | '.join(x)} |" for x in lines)])


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A markdown table of words and figures that need no escaping."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)


def code_block(command: str) -> str:
    """A block of code that holds `command`, whatever backticks are in it."""
    longest = max((len(run) for run in re.findall(r"`+", command)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{command}\n{fence}"


def mermaid_label(value: object) -> str:
    """`value` as the label of a mermaid node: quoted, all signs of mermaid as numbered entities."""
    shown = _MERMAID_SAFE.sub(lambda sign: f"#{ord(sign[0])};", _one_line(value, 0))
    return f'"{shown}"'


def _one_line(value: object, longest: int) -> str:
    line = _SPACE.sub(_one_space, str(value).strip())
    line = "".join(sign if _shown(sign) else " " for sign in line)
    return line if not longest or len(line) <= longest else line[: longest - 1].rstrip() + "…"


def _one_space(run: re.Match[str]) -> str:
    return run[0] if _BREAKS.isdisjoint(run[0]) else LINE_BREAK_SYMBOL


def _shown(sign: str) -> bool:
    """Whether a sign is neither a control sign nor one that turns the direction of writing."""
    return (
        unicodedata.category(sign) != "Cc"
        and sign not in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    )


def _escaped(sign: re.Match[str]) -> str:
    return _ENTITIES.get(sign[0]) or f"\\{sign[0]}"
