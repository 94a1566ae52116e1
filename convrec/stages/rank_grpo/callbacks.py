"""Metrics and timings of each training step, and the check for a loss that is not finite."""

from __future__ import annotations

import functools
import math
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from convrec.errors import TrainingError
from convrec.metrics.list_quality import QUALITY_METRICS
from convrec.training.metrics_log import MetricsLog
from convrec.utils.progress import Progress

CURVES = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "reward": "reward",
    "kl": "kl",
    "entropy": "entropy",
    "clip_ratio/region_mean": "clip_share",
    "completions/mean_length": "tokens",
    "step_time": "seconds",
    **{name: name for name in QUALITY_METRICS},
}
"""TRL's name of each logged metric → its name in the metrics log."""

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
        self.progress = progress
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
        parts = {
            f"seconds_{part}": self.timer.pop_seconds(part) for part in ("sampling", "scoring")
        }
        values["seconds_loss"] = values.get("seconds", 0.0) - sum(parts.values())
        self.metrics_log.add_metrics(step, values | parts)
        self.progress(
            step, state.max_steps, f"NDCG of sampled lists {values.get('reward', 0.0):.3f}"
        )
