"""Stage evaluate: sample lists of checkpoints, score every system, and write the report."""

from convrec.stages.evaluate.generations import BASE_GENERATIONS, GENERATIONS
from convrec.stages.evaluate.metrics import METRICS, metrics_json
from convrec.stages.evaluate.report.step import REPORT

__all__ = ["BASE_GENERATIONS", "GENERATIONS", "METRICS", "REPORT", "metrics_json"]
