"""sft: the student learns the demonstrations."""

from tasks.artifact import artifact_task
from tasks.run import Run

checkpoint_sft = artifact_task("checkpoint_sft", tags=["training"])


def sft(run: Run) -> None:
    """Fine-tune the base model on the demonstrations."""
    run.make("checkpoint_sft", checkpoint_sft)
