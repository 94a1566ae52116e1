"""adjust: weights and biases are fitted, and the demonstrations written."""

from tasks.artifact import artifact_task
from tasks.run import Run

adjustment = artifact_task("adjustment")
demonstrations = artifact_task("demonstrations")


def adjust(run: Run) -> None:
    """Fit w and b on training ground truth, then cut each context's list."""
    run.make("adjustment", adjustment)
    run.make("demonstrations", demonstrations)
