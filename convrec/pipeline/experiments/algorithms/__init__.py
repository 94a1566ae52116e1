"""Training algorithms side by side: one SFT checkpoint, equal samples, several seeds."""

from convrec.pipeline.experiments.algorithms.metrics import comparison_node
from convrec.pipeline.experiments.algorithms.trainings import TrainingRun, best_rate, trainings

__all__ = ["TrainingRun", "best_rate", "comparison_node", "trainings"]
