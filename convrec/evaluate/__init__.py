"""Recall, NDCG, rates and their noise; the steps that measure systems and write the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convrec.lazy import exports

if TYPE_CHECKING:
    from convrec.evaluate.generations import BASE_GENERATIONS, GENERATIONS
    from convrec.evaluate.metrics import METRICS, metrics_json
    from convrec.evaluate.report import REPORT

__all__ = ["BASE_GENERATIONS", "GENERATIONS", "METRICS", "REPORT", "metrics_json"]

__getattr__ = exports(
    __name__,
    {
        "BASE_GENERATIONS": "generations",
        "GENERATIONS": "generations",
        "METRICS": "metrics",
        "REPORT": "report",
        "metrics_json": "metrics",
    },
)
