"""Whether the lists of a prompt differ in reward, without which nothing is learned.

Advantages are relative to the lists of the same prompt: a group whose rewards are all equal has
none. `Gate` samples groups before the first step and can refuse a training;
`EqualRewardsWarning` reads the groups of the first steps, which costs nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from transformers import TrainerCallback

from convrec.config import RankGrpo
from convrec.errors import TrainingError
from convrec.training.metrics_log import MetricsLog
from convrec.training.random_state import capture_random_state, restore_random_state
from convrec.utils.distributed import is_first

MIXED_GROUPS = "mixed_groups"
"""The metric of step 0, and the checkpoint's figure: the share of groups with mixed rewards."""

FIRST_STEPS = 3
"""Steps that `EqualRewardsWarning` reads."""

_EQUAL_GROUPS = "frac_reward_zero_std"
"""TRL's name of the share of a step's groups whose lists all have the same reward."""

_LOG = logging.getLogger(__name__)


class Gate(TrainerCallback):
    """Refuses a training with fewer mixed groups than `rank_grpo.min_mixed`.

    `sample_rewards` returns the rewards of the lists of each group, the same in every process. A
    reward is a number, or one for each rank. The random state is restored afterwards, so training
    with convrec's sampler is the same with and without the gate.
    """

    def __init__(
        self,
        sample_rewards: Callable[[], Sequence[Sequence[Any]]],
        settings: RankGrpo,
        metrics_log: MetricsLog,
    ) -> None:
        self.sample_rewards = sample_rewards
        self.settings = settings
        self.metrics_log = metrics_log

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Sample the groups, unless the training resumes. Raises TrainingError to refuse it."""
        if state.global_step > 0:
            return
        random_state = capture_random_state()
        groups = self.sample_rewards()
        restore_random_state(random_state)
        share = mixed_share(groups)
        text = f"{share:.0%} of {len(groups)} groups have different rewards"
        if share < self.settings.min_mixed:
            raise TrainingError(
                f"only {text}, and rank_grpo.min_mixed={self.settings.min_mixed:g} requires more "
                "to learn from; train sft longer, raise rank_grpo.group_size, set "
                "rank_grpo.sampler=constrained, or use a shorter catalog"
            )
        self.metrics_log.add_metrics(0, {MIXED_GROUPS: share})
        if is_first():
            _LOG.info("%s", text)


def mixed_share(groups: Sequence[Sequence[Any]]) -> float:
    """The share of groups whose rewards are not all equal."""
    return sum(any(reward != group[0] for reward in group) for group in groups) / len(groups)


class EqualRewardsWarning(TrainerCallback):
    """Warns once if every group of the first steps has equal rewards; `text` is the warning."""

    def __init__(self) -> None:
        self.text = ""
        self._shares: dict[int, float] = {}  # by step

    def on_log(
        self, args: Any, state: Any, control: Any, *, logs: dict[str, Any], **_: Any
    ) -> None:
        """Read one step. A step that reuses the lists of the last one has no share of its own."""
        step = state.global_step
        if step > FIRST_STEPS or _EQUAL_GROUPS not in logs:
            return
        self._shares[step] = logs[_EQUAL_GROUPS]
        if step == FIRST_STEPS and 1 in self._shares and min(self._shares.values()) == 1:
            self.text = (
                f"all lists of a prompt had the same reward in the first {FIRST_STEPS} steps, so "
                "nothing was learned from them; train sft longer, raise rank_grpo.group_size, or "
                "set rank_grpo.sampler=constrained"
            )
            if is_first():
                _LOG.warning("%s", self.text)
