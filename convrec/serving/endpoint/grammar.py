"""A catalog as a grammar for structured outputs, in the notation of llama.cpp (GBNF) and xgrammar.

A grammar cannot say that lines differ, short of one rule for each set of lines: see `vllm_engine`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable


def list_grammar(lines: Iterable[str], n: int) -> str:
    """The grammar of `n` lines, each one of `lines`."""
    alternatives = " | ".join(json.dumps(line, ensure_ascii=False) for line in lines)
    root = ' "\\n" '.join(["line"] * n)
    return f"root ::= {root}\nline ::= {alternatives}\n"
