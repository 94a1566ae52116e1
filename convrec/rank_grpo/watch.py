"""What is kept of a training run while it goes on, and when it is stopped."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import polars as pl
from transformers import TrainerCallback

from convrec.errors import TrainingError
from convrec.evaluate.rates import RATES
from convrec.rank_grpo.rollout import Rollout

Progress = Callable[[int, int, str], None]

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
"""TRL's name of each figure that is kept, and the name here; `relevance/...` are kept too."""


class Watch(TrainerCallback):
    """Keeps the curves of a run and reports each step; raises TrainingError on a broken loss."""

    def __init__(self, progress: Progress, steps: int, rollout: Rollout) -> None:
        self.progress = progress
        self.steps = steps
        self.rollout = rollout
        self.points: list[tuple[int, str, float]] = []

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Keep the figures of one step."""
        if logs is None or "loss" not in logs:
            return
        step = state.global_step
        if not all(math.isfinite(logs[name]) for name in ("loss", "grad_norm")):
            raise TrainingError(
                f"the loss of step {step} is not finite; lower rank_grpo.learning_rate "
                f"(it is {args.learning_rate:g})"
            )
        for name, value in logs.items():
            kept = CURVES.get(name, name if name.startswith("relevance/") else None)
            if kept is not None and value is not None:
                self.points.append((step, kept, float(value)))
        self.points.append((step, "seconds_sampling", self.rollout.seconds))
        self.progress(step, self.steps, f"NDCG of sampled lists {logs.get('reward') or 0:.3f}")

    def curves(self) -> pl.DataFrame:
        """All points: columns step, name, value."""
        return pl.DataFrame(
            self.points,
            schema={"step": pl.Int32, "name": pl.String, "value": pl.Float64},
            orient="row",
        )

    def mean(self, name: str, first: int, last: int) -> float:
        """The mean of a curve over steps `first` to `last`, both included; 0 without points."""
        values = [v for step, n, v in self.points if n == name and first <= step <= last]
        return sum(values) / len(values) if values else 0.0
