"""Comparison of training algorithms: one SFT checkpoint, equal samples, several seeds."""

from convrec.pipeline.experiments.algorithms.comparison import comparison_node
from convrec.pipeline.experiments.algorithms.training_runs import (
    TrainingRun,
    best_learning_rate,
    plan_training_runs,
    with_steps,
)

__all__ = [
    "TrainingRun",
    "best_learning_rate",
    "comparison_node",
    "plan_training_runs",
    "with_steps",
]
