"""What is imported is declared, and what is installed fits together; both without a network."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
OWN = {"convrec", "tasks", "flows"}


def plain(requirement: str) -> str:
    name = re.match(r"[\w.-]+", requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def imported() -> set[str]:
    """The top-level modules that the three packages import, wherever in a file."""
    found: set[str] = set()
    for path in (p for name in OWN for p in (ROOT / name).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(str(node.module).partition(".")[0])
    return found - set(sys.stdlib_module_names) - OWN


def test_every_import_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {plain(r) for r in project["dependencies"]}
    for more in project["optional-dependencies"].values():
        declared |= {plain(r) for r in more}
    of = packages_distributions()
    installed = {name: {plain(d) for d in of[name]} for name in imported() if name in of}
    assert not [name for name, owners in installed.items() if not owners & declared]


def test_installed_packages_are_compatible() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout
