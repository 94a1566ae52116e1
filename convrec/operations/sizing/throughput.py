"""Hours of a training: arithmetic over what a GPU does in a second, sampling by its bandwidth."""

from __future__ import annotations

from convrec.operations.sizing.gpus import Machine
from convrec.operations.sizing.memory import FLOAT, TrainingSetup, checkpointed
from convrec.operations.sizing.model_shape import ModelShape

USED = 0.35
"""Share of a GPU's arithmetic that training gets out of it: an assumption, usual for this size."""

READ = 0.6
"""Share of its bandwidth that writing token after token gets: an assumption."""

LAUNCHES = 0.4e-3
"""Seconds that Python and its kernels take for one layer of one token: an assumption."""


def step_seconds(shape: ModelShape, asked: TrainingSetup, on: Machine) -> dict[str, float]:
    """Seconds of one step by part: `sampling` and `learning`."""
    tokens = asked.rows * (asked.prompt + asked.completion)
    attention = 2 * shape.layers * shape.config.hidden_size * (asked.prompt + asked.completion)
    forward = 2 * shape.parameters + attention
    passes = (2 if asked.lora else 3) + checkpointed(shape, asked)
    passes += asked.reference or (asked.stage == "rank_grpo" and asked.lora > 0)
    learning = passes * forward * tokens / (USED * on.flops)
    sampling = sampling_seconds(shape, asked, on) if asked.stage == "rank_grpo" else 0.0
    return {"sampling": sampling, "learning": learning}


def sampling_seconds(shape: ModelShape, asked: TrainingSetup, on: Machine) -> float:
    """Seconds in which one process writes its lists, all at once, token after token."""
    weights = 2 * FLOAT * shape.parameters  # read in float32, written and read as bf16
    cache = asked.rows * (asked.prompt + asked.completion / 2) * shape.cache(2)
    token = max((weights + cache) / (READ * on.bandwidth), LAUNCHES * shape.layers)
    prefill = 2 * shape.parameters * asked.rows * asked.prompt / (USED * on.flops)
    return asked.completion * token + prefill
