"""Which way of training fits on a machine, with which batch, and how long it takes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from convrec.config import Config
from convrec.errors import InputError
from convrec.operations.sizing.gpus import Machine
from convrec.operations.sizing.memory import Memory, TrainingSetup, memory
from convrec.operations.sizing.model_shape import ModelShape
from convrec.operations.sizing.throughput import step_seconds

ROOM = 0.9
"""Share of a GPU's memory that is planned with; the rest is the context and fragments."""

RANK = 16
"""Rank of adapters where the profile has none and all weights do not fit."""

Stage = Literal["sft", "rank_grpo"]


@dataclass(frozen=True)
class StagePlan:
    """One stage: how it is started, what it holds, how long it takes."""

    stage: Stage
    parallel: str
    settings: dict[str, Any]
    memory: Memory
    steps: int
    seconds: dict[str, float]
    """Seconds of one step by part."""

    @property
    def hours(self) -> float:
        """Hours of all steps."""
        return self.steps * sum(self.seconds.values()) / 3600


def plan_stage(
    stage: Stage, shape: ModelShape, on: Machine, config: Config, rows: int
) -> StagePlan:
    """The first way that fits: all weights under DDP, cut by FSDP (sft), adapters; then less rows.

    Raises InputError where the smallest step of adapters does not fit.
    """
    least = None
    for batch in _batches(stage, on, config):
        for parallel, lora in _ways(stage, on, config):
            asked = _asked(stage, config, batch, on, parallel, lora)
            held = memory(shape, asked)
            if held.peak <= ROOM * on.memory:
                settings = _settings(stage, batch, parallel, lora, on)
                steps = config.rank_grpo.steps
                if stage == "sft":
                    steps = math.ceil(rows / batch * config.sft.epochs)
                seconds = step_seconds(shape, asked, on)
                return StagePlan(stage, parallel, settings, held, steps, seconds)
            least = min(held.peak, least or held.peak)
    assert least is not None
    raise InputError(
        f"{stage} of {shape.name} needs {least / 1e9:.0f} GB on each GPU at the least, and one of "
        f"{on.count}x{on.name} gives {ROOM * on.memory / 1e9:.0f} of its {on.memory / 1e9:.0f}; "
        "take larger GPUs, a smaller model, or lower model.max_prompt_tokens"
    )


def _ways(stage: Stage, on: Machine, config: Config) -> Iterator[tuple[str, int]]:
    """Ways to share the work, and the rank of adapters (0: none), the best first."""
    asked = (config.sft if stage == "sft" else config.rank_grpo).lora.rank
    if asked == 0:
        yield "ddp", 0
        if stage == "sft" and on.count > 1:
            yield "fsdp", 0
    yield "ddp", asked or RANK


def _batches(stage: Stage, on: Machine, config: Config) -> Iterator[int]:
    """Rows, or prompts, of a step: as the profile has it, then halves that all GPUs can share."""
    if stage == "sft":
        batch, whole = config.sft.batch_size, on.count
    else:
        group = config.rank_grpo.group_size
        batch, whole = config.rank_grpo.prompts_per_step, on.count // math.gcd(on.count, group)
    batch = -(-batch // whole) * whole
    while True:
        yield batch
        if batch == whole:
            return
        batch = max(whole, batch // 2 // whole * whole)


def _asked(
    stage: Stage, config: Config, batch: int, on: Machine, parallel: str, lora: int
) -> TrainingSetup:
    settings = config.sft if stage == "sft" else config.rank_grpo
    asked = TrainingSetup(
        stage=stage,
        rows=batch // on.count,
        prompt=config.model.max_prompt_tokens,
        completion=config.model.max_completion_tokens,
        processes=on.count,
        sharded=parallel == "fsdp",
        bf16=config.model.bf16,
        lora=lora,
        targets=settings.lora.target_modules,
    )
    if stage == "sft":
        return asked
    rl = config.rank_grpo
    lists = batch * rl.group_size // on.count
    return replace(asked, rows=lists, reference=rl.beta > 0 and not lora)


def _settings(stage: Stage, batch: int, parallel: str, lora: int, on: Machine) -> dict[str, Any]:
    """What to set in the profile, by dotted key."""
    size = "sft.batch_size" if stage == "sft" else "rank_grpo.prompts_per_step"
    settings: dict[str, Any] = {size: batch}
    if lora:
        settings[f"{stage}.lora.rank"] = lora
    return {
        **settings,
        "train.launcher": "accelerate",
        "train.parallel": parallel,
        "train.processes": on.count,
    }
