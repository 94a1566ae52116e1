"""Random numbers of several processes that reinforce together, kept as one process has them.

TRL seeds each process by its rank and shuffles the lists of each by itself. Before training, and
after every step, the generator of all is put where that of one process would be: the same lists
are sampled whatever the number of processes (up to rounding), and what is saved goes on alike.
Dropout is the exception, for it draws by the rows of a process.
"""

from __future__ import annotations

from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback

from convrec.rank_grpo.rollout import Rollout


class SyncRngCallback(TrainerCallback):
    """Keeps torch's generator of several processes in step with that of one; is before saving."""

    def __init__(self, rollout: Rollout) -> None:
        self.rollout = rollout

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Every process begins where the first does."""
        torch.set_rng_state(broadcast_object_list([torch.get_rng_state()])[0])

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Go where one process is after this step."""
        if self.rollout.after is not None:
            torch.set_rng_state(self.rollout.after)
