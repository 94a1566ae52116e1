from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from convrec.config import ROOT

LOADERS = ("from_pretrained", "from_config", "SentenceTransformer", "CrossEncoder")
PACKAGES = ("convrec", "tasks", "flows", "benchmarks", "scripts")


def loading_calls() -> Iterator[tuple[Path, ast.Call]]:
    """Every call in the repository that loads a model, a tokenizer or a configuration."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                    if name in LOADERS:
                        yield path, node


def test_every_loading_call_refuses_own_code() -> None:
    calls = list(loading_calls())
    assert len(calls) >= 9
    for path, call in calls:
        values = [
            keyword.value.value
            for keyword in call.keywords
            if keyword.arg == "trust_remote_code" and isinstance(keyword.value, ast.Constant)
        ]
        assert values == [False], f"{path}:{call.lineno} does not give trust_remote_code=False"
