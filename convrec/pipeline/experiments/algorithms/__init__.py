"""Training algorithms side by side: one SFT checkpoint, equal samples, several seeds."""

from convrec.pipeline.experiments.algorithms.metrics import comparison_node
from convrec.pipeline.experiments.algorithms.trainings import Training, best_rate, trainings

__all__ = ["Training", "best_rate", "comparison_node", "trainings"]
