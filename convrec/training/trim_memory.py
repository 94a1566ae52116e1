"""Return freed memory during a training, before its fragments fill the machine."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from convrec.models.hardware import FreedMemory, return_freed_memory


class TrimMemory(TrainerCallback):
    """Trims after each micro-batch, step and validation batch if the process has grown."""

    def __init__(self) -> None:
        self._freed = FreedMemory()

    def on_substep_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """After each micro-batch but the last."""
        self._freed.trim()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """After each step."""
        self._freed.trim()

    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """After each batch of a validation."""
        self._freed.trim()


def trim_before_backward(accelerator: Any) -> None:
    """Return freed memory before each backward pass on a CPU.

    Autocast frees its rounded weights at the end of a forward pass. They leave holes that are too
    small for what the backward pass allocates, .25 GB for a model of 135M weights.
    """
    backward = accelerator.backward

    def trimmed(loss: Any, **options: Any) -> None:
        return_freed_memory()
        backward(loss, **options)

    accelerator.backward = trimmed
