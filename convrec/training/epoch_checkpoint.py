"""Save a run whose order of data is drawn at the start of each epoch.

A checkpoint also has the random state of that moment. A run that resumes draws the same order
again, skips the data of earlier steps, and goes on with the random state of the step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convrec.training.checkpoint import STEP_STATE, CheckpointCallback
from convrec.training.random_state import (
    RandomState,
    capture_random_state,
    load_random_state,
    restore_random_state,
)

_EPOCH_STATE = "epoch-random"
"""Name of the random state that the order of the epoch is drawn from."""


class EpochCheckpointCallback(CheckpointCallback):
    """Saves after every `every` steps, or after each epoch if it is 0.

    It saves before the next step, when the last one is validated. Without `enabled`, it never does.
    """

    def __init__(self, folder: Path, *, every: int = 0, enabled: bool = True) -> None:
        super().__init__(folder, every=every)
        self.enabled = enabled
        self._epoch_state: RandomState | None = None
        self._epoch_start = 0

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **context: Any) -> None:
        """Note the random state that the order of the epoch is drawn from, or restore it."""
        if self.resumed is not None:
            restore_random_state(load_random_state(self.resumed, _EPOCH_STATE))
        self._epoch_state = capture_random_state()
        self._epoch_start = state.global_step

    def on_step_begin(self, args: Any, state: Any, control: Any, **context: Any) -> None:
        """Restore the random state, or save if due."""
        is_resuming = self.resumed is not None
        super().on_step_begin(args, state, control, **context)
        if self.enabled and not is_resuming and self._is_due(state.global_step):
            assert self._epoch_state is not None
            states = {STEP_STATE: capture_random_state(), _EPOCH_STATE: self._epoch_state}
            self.save(state, context, states)

    def on_step_end(self, args: Any, state: Any, control: Any, **context: Any) -> None:
        """Log the loss since the last log before saving, because its running sum is not saved."""
        is_due = self.enabled and self.every and self._is_due(state.global_step)
        control.should_log = control.should_log or bool(is_due)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **context: Any) -> None:
        """Log the loss since the last log, as `on_step_end`."""
        control.should_log = control.should_log or self.enabled

    def on_log(self, args: Any, state: Any, control: Any, **context: Any) -> None:
        """Save nothing: the step may still be validated."""

    def _is_due(self, step: int) -> bool:
        if self.every:
            return step > 0 and step % self.every == 0
        return step > 0 and step == self._epoch_start
