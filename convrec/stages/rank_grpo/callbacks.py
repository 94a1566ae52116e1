"""What is kept of each step of reinforcement, where its time goes, and when it is stopped."""

from __future__ import annotations

import functools
import math
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from convrec.errors import TrainingError
from convrec.metrics.list_quality import RATES
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
    **{rate: rate for rate in RATES},
}
"""TRL's name of each figure that is kept, and the name here."""

OWN = ("relevance/", "reward@rank", "clip_share@rank")
"""How the names begin that are ours already."""


class StepTimer:
    """Adds up what the parts of a step take."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, with its time counted for `part`."""

        @functools.wraps(function, updated=())
        def call(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[part] += time.perf_counter() - started

        return call

    def take(self, part: str) -> float:
        """What a part took since it was last asked for."""
        return self.seconds.pop(part, 0.0)


class StepMetricsCallback(TrainerCallback):
    """Records each step and reports it; raises TrainingError on a broken loss."""

    def __init__(self, progress: Progress, record: MetricsLog, clock: StepTimer) -> None:
        self.progress = progress
        self.record = record
        self.clock = clock

    def on_log(
        self, args: Any, state: Any, control: Any, *, logs: dict[str, Any], **_: Any
    ) -> None:
        """Keep the figures of one step."""
        if "loss" not in logs:
            return
        step = state.global_step
        if not all(math.isfinite(logs[name]) for name in ("loss", "grad_norm")):
            raise TrainingError(
                f"the loss of step {step} is not finite; lower rank_grpo.learning_rate "
                f"(it is {args.learning_rate:g})"
            )
        values = {}
        for name, value in logs.items():
            kept = CURVES.get(name, name if name.startswith(OWN) else None)
            if kept is not None and value is not None:
                values[kept] = float(value)
        parts = {f"seconds_{part}": self.clock.take(part) for part in ("sampling", "scoring")}
        values["seconds_loss"] = values.get("seconds", 0.0) - sum(parts.values())
        self.record.add(step, values | parts)
        self.progress(
            step, state.max_steps, f"NDCG of sampled lists {values.get('reward', 0.0):.3f}"
        )
