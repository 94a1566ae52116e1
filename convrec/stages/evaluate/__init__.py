"""Stage evaluate: sample lists of checkpoints, score every system, and write the report."""

from convrec.stages.evaluate.generations import (
    BASE_GENERATIONS,
    FREE_GENERATIONS,
    GENERATIONS,
)
from convrec.stages.evaluate.metrics import METRICS, metrics_json
from convrec.stages.evaluate.report.step import REPORT
from convrec.stages.evaluate.served import SERVED_GENERATIONS

__all__ = [
    "BASE_GENERATIONS",
    "FREE_GENERATIONS",
    "GENERATIONS",
    "METRICS",
    "REPORT",
    "SERVED_GENERATIONS",
    "metrics_json",
]
