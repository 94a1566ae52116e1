"""Keep the random numbers of several processes equal to those of a single one.

TRL seeds each process by its rank, and each process shuffles its own lists. Before training and
after every step, each process sets its generator to the state that a single process would have.
The sampled lists then do not depend on the number of processes (up to rounding), and a resumed run
continues the same sequence. Dropout is the exception: it draws per row of a process.
"""

from __future__ import annotations

from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback

from convrec.rank_grpo.rollout import Rollout


class SyncRngCallback(TrainerCallback):
    """Sets torch's generator of each process; must come before the checkpoint callback."""

    def __init__(self, rollout: Rollout) -> None:
        self.rollout = rollout

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start from the first process's state."""
        torch.set_rng_state(broadcast_object_list([torch.get_rng_state()])[0])

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Continue from the state of a single process after this step."""
        if self.rollout.rng_state_after_step is not None:
            torch.set_rng_state(self.rollout.rng_state_after_step)
