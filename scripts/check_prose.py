"""Plain English: fails on words that make our pages and docstrings hard to read (`make lint`).

    python scripts/check_prose.py [FILE ...]

Reads Markdown outside of code, and docstrings and comments of Python files; without arguments, all
files that git tracks. A word that is right where it is used can be written as `code`.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

BETTER = {
    r"nobody|whoever|anybody's": "name who it is",
    r"anew|afresh": "again, new",
    r"beside": "next to, compared with, in addition to",
    r"lies|lie in|lay in": "is, is stored",
    r"hangs? on|hang upon": "depends on",
    r"lets? go|letting go": "release, close",
    r"taken for": "treated as",
    r"told": "reported, configured",
    r"is of": "has, belongs to",
    r"stands (in|at|under|behind|there|where)": "is",
    r"a look at validation": "a validation pass",
}
PATTERNS = [(re.compile(rf"\b(?:{words})\b", re.I), better) for words, better in BETTER.items()]
CODE = re.compile(r"```.*?```|`[^`]*`|^ {4}.*$", re.S | re.M)


def markdown_lines(text: str) -> Iterator[tuple[int, str]]:
    """(line number, text) of Markdown, with code blanked."""
    blanked = CODE.sub(lambda code: re.sub(r"[^\n]", " ", code[0]), text)
    yield from enumerate(blanked.splitlines(), start=1)


def python_lines(text: str) -> Iterator[tuple[int, str]]:
    """(line number, text) of the comments and docstrings of Python code."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], re.sub(r"`[^`]*`", "", token.string)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            value = node.value.value  # a docstring, or one behind a constant
            if isinstance(value, str):
                lines = re.sub(r"`[^`]*`", "", value).splitlines()
                yield from enumerate(lines, start=node.lineno)


def main(arguments: list[str]) -> int:
    """Print each finding as `file:line: word; better: ...`; 1 if there is one."""
    listed = subprocess.run(
        ["git", "ls-files", "*.md", "*.py"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    found = 0
    for name in arguments or [name for name in listed if name != "scripts/check_prose.py"]:
        path = ROOT / name
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8")
        lines = python_lines(text) if path.suffix == ".py" else markdown_lines(text)
        for number, line in lines:
            for pattern, better in PATTERNS:
                if match := pattern.search(line):
                    found += 1
                    print(f"{name}:{number}: {match[0]!r}; better: {better}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
