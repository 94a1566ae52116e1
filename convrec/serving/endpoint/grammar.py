"""A catalog as a grammar for structured outputs, in the notation of llama.cpp (GBNF) and xgrammar.

Lines that begin alike share their beginning: xgrammar compiles 10,000 titles in a sixteenth of the
time that a flat list takes. A grammar cannot say that lines differ: see `vllm_engine`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from itertools import groupby


def list_grammar(lines: Iterable[str], n: int) -> str:
    """The grammar of `n` lines, each one of `lines`."""
    root = ' "\\n" '.join(["line"] * n)
    return f"root ::= {root}\nline ::= {_alternatives(sorted(set(lines)))}\n"


def _alternatives(lines: Sequence[str]) -> str:
    """The alternatives of different lines in order."""
    parts = []
    for _, group in groupby(lines, key=lambda line: line[:1]):
        same = list(group)
        start = os.path.commonprefix(same)  # noqa: RUF071 - characters, not path components
        text = json.dumps(start, ensure_ascii=False)
        if len(same) > 1:
            text += f" ({_alternatives([line[len(start) :] for line in same])})"
        parts.append(text)
    return " | ".join(parts)
