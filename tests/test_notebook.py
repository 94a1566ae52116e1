"""The example notebook runs from top to bottom, and gives what it says."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).parents[1] / "docs" / "examples" / "notebook.ipynb"


def run_cells(path: Path) -> list[Any]:
    """The value of the last expression of each code cell, as a notebook shows it."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    shown = []
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        assert cell["outputs"] == [], "the notebook is committed without outputs"
        *statements, last = ast.parse("".join(cell["source"])).body
        if not isinstance(last, ast.Expr):
            statements.append(last)
        exec(compile(ast.Module(statements, []), str(path), "exec"), names)
        is_shown = isinstance(last, ast.Expr)
        shown.append(
            eval(compile(ast.Expression(last.value), "", "eval"), names) if is_shown else None
        )
    return shown


def test_the_example_notebook_runs() -> None:
    _, artifacts, conversations, lists, figures, answer, scores = run_cells(NOTEBOOK)
    assert artifacts["name"].to_list()[-1] == "demonstrations"
    assert not artifacts["cached"].any()
    assert conversations.columns == ["conversation", "ground_truth", "split"]
    assert {len(items) for items in lists["items"]} == {5}
    assert figures["samples"] > 24
    items, seen = answer
    assert len({*items}) == 3
    assert len(seen) >= 1
    assert scores["recall@5"] == 1
