"""The method stays small enough to be read in one sitting, and copies nothing from TRL."""

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
ASIDE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
COPIED = 5
"""So many equal lines in a row are a copy."""


def code_lines(text: str) -> int:
    """Lines with code on them: no comments, docstrings or blank lines."""
    strings: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            strings |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in ASIDE:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - strings)


def test_lines_are_counted_as_one_would_by_hand() -> None:
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
        return {tuple(lines[i : i + COPIED]) for i in range(len(lines) - COPIED + 1)}

    assert not runs(RankGRPOTrainer) & runs(GRPOTrainer)
