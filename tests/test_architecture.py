"""The structure of the code: no import cycle between files, no import up the layers.

import-linter checks the layers of packages (`make lint`); this test reads every import of every
file, those inside functions and under TYPE_CHECKING included.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
LONGEST, MEDIAN = 400, 130
"""Lines of a module: the most that one may have, and the most that half of them may exceed."""


def modules() -> dict[str, Path]:
    """Module name → file, of convrec, tasks and flows."""
    found = {}
    for package in ("convrec", "tasks", "flows"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of ours that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                yield module if module in known else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def import_graph() -> dict[str, set[str]]:
    """Module → the modules of ours that it imports."""
    known = modules()
    return {
        name: {target for target in imports(path, known) if target in known and target != name}
        for name, path in known.items()
    }


def layer_contracts() -> list[dict[str, Any]]:
    """The contracts of import-linter that order the layers of a package."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    contracts = tools["importlinter"]["contracts"]
    return [contract for contract in contracts if "containers" in contract]


def test_no_file_imports_another_in_a_circle() -> None:
    graph = import_graph()
    assert len(graph) > 200
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(f"import cycle: {' -> '.join(error.args[1])}") from None


def test_no_import_runs_up_a_layer() -> None:
    contracts = layer_contracts()
    assert {contract["containers"][0] for contract in contracts} == {"convrec", "convrec.stages"}
    upward = []
    for contract in contracts:
        container = contract["containers"][0]
        height = {
            f"{container}.{name.strip()}": -number
            for number, layer in enumerate(contract["layers"])
            for name in layer.split("|")
        }
        room = {
            module: next((r for r in height if f"{module}.".startswith(f"{r}.")), "")
            for module in modules()
        }
        for module, targets in import_graph().items():
            for target in targets:
                here, there = room[module], room[target]
                if here and there and here != there and height[there] >= height[here]:
                    upward.append(f"{module} -> {target}")
    assert not upward


def test_modules_are_short_enough_to_read() -> None:
    lines = {
        name: len(path.read_text(encoding="utf-8").splitlines())
        for name, path in modules().items()
        if name.startswith("convrec.")
    }
    assert not {name: count for name, count in lines.items() if count > LONGEST}
    assert median(lines.values()) <= MEDIAN


def test_only_the_command_line_imports_typer_and_rich() -> None:
    others = [
        name
        for name, path in modules().items()
        if name.startswith("convrec.") and not name.startswith("convrec.cli")
        if {"typer", "rich"} & {target.partition(".")[0] for target in imports(path, {})}
    ]
    assert not others
