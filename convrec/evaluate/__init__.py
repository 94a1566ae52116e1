"""Recall, NDCG, rates and their noise; the steps that measure systems and write the report."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "BASE_GENERATIONS": "convrec.evaluate.generations",
    "GENERATIONS": "convrec.evaluate.generations",
    "METRICS": "convrec.evaluate.metrics",
    "REPORT": "convrec.evaluate.report",
    "metrics_json": "convrec.evaluate.metrics",
    "score_file": "convrec.evaluate.score",
}

__all__ = ["BASE_GENERATIONS", "GENERATIONS", "METRICS", "REPORT", "metrics_json", "score_file"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
