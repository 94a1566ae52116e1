"""Training algorithms side by side: one SFT checkpoint, equal samples, several seeds."""

from convrec.comparison.measured import comparison_node
from convrec.comparison.trainings import Training, best_rate, trainings

__all__ = ["Training", "best_rate", "comparison_node", "trainings"]
