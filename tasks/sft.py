"""sft: the student learns the demonstrations."""

from convrec.errors import InputError
from convrec.models.gguf import gguf_file, is_gguf_package
from convrec.models.identity import missing_base
from convrec.pipeline.graph import NODES
from tasks.artifact import artifact_task
from tasks.run import Run

checkpoint_sft = artifact_task("checkpoint_sft", tags=["training"])


def expect_base(run: Run) -> None:
    """Raise InputError or ConfigError where the model that this run will train is not there."""
    base = run.config.model.base
    if run.skipped(NODES["checkpoint_sft"]):
        return
    if wrong := missing_base(base):
        raise InputError(wrong)
    if is_gguf_package(base):
        gguf_file(base)


def sft(run: Run) -> None:
    """Fine-tune the base model on the demonstrations."""
    run.make("checkpoint_sft", checkpoint_sft)
