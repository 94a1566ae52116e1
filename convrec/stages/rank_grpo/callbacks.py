"""Metrics and timings of each training step, and equal random numbers in all processes."""

from __future__ import annotations

import functools
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback

from convrec.errors import TrainingError
from convrec.metrics.list_quality import QUALITY_METRICS
from convrec.rank_grpo.rollout import Rollout
from convrec.training.metrics_log import MetricsLog
from convrec.training.progress import TrainingProgress
from convrec.utils.progress import Progress

CURVES = {
    **{name: name for name in ("loss", "grad_norm", "reward", "kl", "entropy", *QUALITY_METRICS)},
    "clip_ratio/region_mean": "clip_share",
    "completions/mean_length": "tokens",
    "completions/clipped_ratio": "cut",
    "step_time": "seconds",
    "rewards/shaping/mean": "shaping",
}
"""TRL's name of each logged metric → its name in the metrics log.

`cut` is the share of lists that reach `model.max_completion_tokens` without EOS.
"""

KEPT_PREFIXES = ("relevance/", "reward@rank", "clip_share@rank")
"""Prefixes of metrics that keep their names."""


class StepTimer:
    """Adds up the time that parts of a step take."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap `function` so that its time counts for `part`."""

        @functools.wraps(function, updated=())
        def call(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self._seconds[part] += time.perf_counter() - started

        return call

    def pop_seconds(self, part: str) -> float:
        """The time of `part` since the previous call."""
        return self._seconds.pop(part, 0.0)


class StepMetricsCallback(TrainerCallback):
    """Logs the metrics of each step; raises TrainingError if the loss is not finite."""

    def __init__(self, progress: Progress, metrics_log: MetricsLog, timer: StepTimer) -> None:
        self.progress = TrainingProgress(progress)
        self.metrics_log = metrics_log
        self.timer = timer

    def on_log(
        self, args: Any, state: Any, control: Any, *, logs: dict[str, Any], **_: Any
    ) -> None:
        """Log one step."""
        if "loss" not in logs:
            return
        step = state.global_step
        if not all(math.isfinite(logs[name]) for name in ("loss", "grad_norm")):
            raise TrainingError(
                f"the loss of step {step} is not finite; lower rank_grpo.learning_rate "
                f"(now {args.learning_rate:g})"
            )
        values = {}
        for trl_name, value in logs.items():
            name = CURVES.get(trl_name, trl_name if trl_name.startswith(KEPT_PREFIXES) else None)
            if name is not None and value is not None:
                values[name] = float(value)
        if "shaping" in values:  # TRL's reward is the sum
            values["reward"] -= values["shaping"]
        names = ("sampling", "scoring")
        parts = {f"seconds_{name}": self.timer.pop_seconds(name) for name in names}
        values["seconds_loss"] = values.get("seconds", 0.0) - sum(parts.values())
        self.metrics_log.add_metrics(step, values | parts)
        self.progress.log(step, state.max_steps, self._summary(values), logs)

    def _summary(self, values: Mapping[str, float]) -> str:
        text = f"NDCG of sampled lists {values.get('reward', 0.0):.3f}"
        validated = self.metrics_log.latest("validation_ndcg@", except_for=("_low", "_high"))
        return text if validated is None else f"{text}, on validation {validated:.3f}"


class SyncRngCallback(TrainerCallback):
    """Gives each process the random state of a single one; precedes the checkpoint callback.

    TRL seeds each process by its rank, and each process shuffles its own lists. With this callback,
    the sampled lists do not depend on the number of processes (up to rounding), and a resumed run
    continues the same sequence. Dropout is the exception: it draws per row of a process.
    """

    def __init__(self, rollout: Rollout) -> None:
        self.rollout = rollout

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start from the first process's state."""
        torch.set_rng_state(broadcast_object_list([torch.get_rng_state()])[0])

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Continue from the state of a single process after this step."""
        if self.rollout.rng_state_after_step is not None:
            torch.set_rng_state(self.rollout.rng_state_after_step)
