"""remap: teacher lists become scores over the catalog."""

from tasks.artifact import artifact_task
from tasks.run import Run

similarity_basis = artifact_task("similarity_basis")
candidates = artifact_task("candidates")


def remap(run: Run) -> None:
    """Fit the similarity basis once, then score the catalog for every context."""
    run.make("similarity_basis", similarity_basis)
    run.make("candidates", candidates)
