"""Training algorithms side by side: one SFT checkpoint, equal samples, several seeds."""

from convrec.comparison.measured import comparison_node
from convrec.comparison.trainings import ALGORITHM_NAMES, Training, best_rate, trainings

__all__ = ["ALGORITHM_NAMES", "Training", "best_rate", "comparison_node", "trainings"]
