"""The package stays small, and copies no code from TRL."""

from __future__ import annotations

import ast
import inspect
import io
import tokenize
from pathlib import Path

from trl import GRPOTrainer

import convrec.rank_grpo
from convrec.rank_grpo.trainer import RankGRPOTrainer

FOLDER = Path(convrec.rank_grpo.__file__).parent
IGNORED_TOKENS = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
COPY_LENGTH = 5
"""Consecutive equal lines that count as a copy."""


def code_lines(text: str) -> int:
    """Number of lines with code: no comments, docstrings or blank lines."""
    strings: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            strings |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in IGNORED_TOKENS:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - strings)


def test_code_lines_are_counted() -> None:
    docstring = '"""Words\nof a module."""\n\n'
    text = docstring + 'x = 1  # one\n# alone\ny = (\n    x\n)\n"""Of y."""\n'
    assert code_lines(text) == 4


def test_the_package_has_at_most_400_lines_of_code() -> None:
    sizes = {
        path.name: code_lines(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.py")
    }
    assert sum(sizes.values()) <= 400, sizes


def test_no_method_of_trl_is_copied() -> None:
    def runs(source: type) -> set[tuple[str, ...]]:
        lines = [line.strip() for line in inspect.getsource(source).splitlines() if line.strip()]
        return {tuple(lines[i : i + COPY_LENGTH]) for i in range(len(lines) - COPY_LENGTH + 1)}

    assert not runs(RankGRPOTrainer) & runs(GRPOTrainer)
