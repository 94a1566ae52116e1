"""sft: the student learns the demonstrations."""

from convrec.errors import InputError
from convrec.pipeline import NODES
from convrec.sft import missing_base
from tasks.artifact import artifact_task
from tasks.run import Run

checkpoint_sft = artifact_task("checkpoint_sft", tags=["training"])


def expect_base(run: Run) -> None:
    """Raise InputError for a model that this run will train and that is not there."""
    wrong = missing_base(run.config.model.base)
    if wrong and not run.skipped(NODES["checkpoint_sft"]):
        raise InputError(wrong)


def sft(run: Run) -> None:
    """Fine-tune the base model on the demonstrations."""
    run.make("checkpoint_sft", checkpoint_sft)
