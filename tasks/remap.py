"""remap: teacher lists become scores over the catalog."""

from convrec.stages.remap import embeds
from tasks.artifact import artifact_task, ask_task
from tasks.run import Run

similarity_basis = artifact_task("similarity_basis")
embed_texts = ask_task("candidates")
candidates = artifact_task("candidates")


def remap(run: Run) -> None:
    """Fit the similarity basis once, embed new texts if a model does, then score the catalog."""
    run.make("similarity_basis", similarity_basis)
    run.make("candidates", candidates, ask=embed_texts if embeds(run.config) else None)
