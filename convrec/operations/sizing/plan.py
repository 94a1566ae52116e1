"""Select how to train a stage on a machine: strategy, batch, and the time that it takes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from convrec.config import Config
from convrec.errors import InputError
from convrec.operations.sizing.gpus import Machine
from convrec.training.memory.estimate import (
    FLOAT32_BYTES,
    Memory,
    TrainingSetup,
    estimate_memory,
)
from convrec.training.memory.model_shape import ModelShape

USABLE_MEMORY = 0.9
"""Share of a GPU's memory to plan with; the rest is for its context and fragmentation."""

DEFAULT_LORA_RANK = 16
"""Rank of adapters if the profile has none and training all weights does not fit."""

COMPUTE_UTILIZATION, BANDWIDTH_UTILIZATION = 0.35, 0.6
"""Shares of a GPU's FLOP/s and bandwidth that training and decoding reach: assumptions."""

LAYER_OVERHEAD = 0.4e-3
"""Seconds of Python and kernel launches per layer and token: an assumption."""

Stage = Literal["sft", "rank_grpo"]


@dataclass(frozen=True)
class StagePlan:
    """How to start one stage, its memory and its time.

    `parallel` is the value of `train.parallel`, `settings` are overrides by dotted key, `seconds`
    those of one step by part.
    """

    stage: Stage
    parallel: str
    settings: dict[str, Any]
    memory: Memory
    steps: int
    seconds: dict[str, float]

    @property
    def hours(self) -> float:
        """Hours of all steps."""
        return self.steps * sum(self.seconds.values()) / 3600


def plan_stage(
    stage: Stage, shape: ModelShape, machine: Machine, config: Config, rows: int
) -> StagePlan:
    """The first strategy that fits, from large to small batches; `rows` are those of sft.

    Raises InputError if not even the smallest step with adapters fits.
    """
    smallest = math.inf
    for batch in _batch_sizes(stage, machine, config):
        for parallel, lora in _strategies(stage, machine, config):
            setup = _setup(stage, shape, config, batch, machine, parallel, lora)
            memory = estimate_memory(shape, setup)
            if memory.peak <= USABLE_MEMORY * machine.memory:
                settings = _overrides(stage, batch, parallel, lora, machine)
                steps = config.rank_grpo.steps
                if stage == "sft":
                    steps = math.ceil(rows / batch * config.sft.epochs)
                seconds = step_seconds(shape, setup, machine)
                return StagePlan(stage, parallel, settings, memory, steps, seconds)
            smallest = min(memory.peak, smallest)
    usable, total = USABLE_MEMORY * machine.memory / 1e9, machine.memory / 1e9
    raise InputError(
        f"{stage} of {shape.name} needs at least {smallest / 1e9:.0f} GB on each GPU, but "
        f"{machine.count}x{machine.name} has {usable:.0f} usable of {total:.0f} GB each; use "
        "larger GPUs or a smaller model, or lower model.max_prompt_tokens"
    )


def _strategies(stage: Stage, machine: Machine, config: Config) -> Iterator[tuple[str, int]]:
    """`train.parallel` and the rank of adapters (0: none), the best first."""
    rank = (config.sft if stage == "sft" else config.rank_grpo).lora.rank
    if rank == 0:
        yield "ddp", 0
        if stage == "sft" and machine.count > 1:
            yield "fsdp", 0
    yield "ddp", rank or DEFAULT_LORA_RANK


def _batch_sizes(stage: Stage, machine: Machine, config: Config) -> Iterator[int]:
    """Rows (sft) or prompts per step: the profile's, then halves that all GPUs can share."""
    if stage == "sft":
        batch, multiple = config.sft.batch_size, machine.count
    else:
        group_size = config.rank_grpo.group_size
        batch = config.rank_grpo.prompts_per_step
        multiple = machine.count // math.gcd(machine.count, group_size)
    batch = -(-batch // multiple) * multiple
    while True:
        yield batch
        if batch == multiple:
            return
        batch = max(multiple, batch // 2 // multiple * multiple)


def _setup(
    stage: Stage,
    shape: ModelShape,
    config: Config,
    batch: int,
    machine: Machine,
    parallel: str,
    lora: int,
) -> TrainingSetup:
    if stage == "sft":
        rows, reference, settings = batch, False, config.sft.lora
    else:
        rows = batch * config.rank_grpo.group_size
        reference, settings = config.rank_grpo.beta > 0 and not lora, config.rank_grpo.lora
    return TrainingSetup(
        stage=stage,
        rows=rows // machine.count,
        prompt=config.model.max_prompt_tokens,
        completion=config.model.max_completion_tokens,
        processes=machine.count,
        sharded=parallel == "fsdp",
        bf16=config.model.bf16,
        lora=lora,
        targets=shape.targets(settings, stage),
        reference=reference,
    )


def _overrides(
    stage: Stage, batch: int, parallel: str, lora: int, machine: Machine
) -> dict[str, Any]:
    """The settings to override in the profile, by dotted key."""
    batch_key = "sft.batch_size" if stage == "sft" else "rank_grpo.prompts_per_step"
    return {
        batch_key: batch,
        **({f"{stage}.lora.rank": lora} if lora else {}),
        "train.launcher": "accelerate",
        "train.parallel": parallel,
        "train.processes": machine.count,
    }


def step_seconds(shape: ModelShape, setup: TrainingSetup, machine: Machine) -> dict[str, float]:
    """Seconds of one step by part: `sampling` and `learning`."""
    tokens = setup.rows * (setup.prompt + setup.completion)
    attention = 2 * shape.layers * shape.config.hidden_size * (setup.prompt + setup.completion)
    forward = 2 * shape.parameters + attention
    passes = (2 if setup.lora else 3) + setup.recompute
    passes += setup.reference or (setup.stage == "rank_grpo" and setup.lora > 0)
    learning = passes * forward * tokens / (COMPUTE_UTILIZATION * machine.flops)
    sampling = sampling_seconds(shape, setup, machine) if setup.stage == "rank_grpo" else 0.0
    return {"sampling": sampling, "learning": learning}


def sampling_seconds(shape: ModelShape, setup: TrainingSetup, machine: Machine) -> float:
    """Seconds in which one process generates its lists, all at once, token by token."""
    weights = 2 * FLOAT32_BYTES * shape.parameters  # read in float32, written and read as bf16
    cache = setup.rows * (setup.prompt + setup.completion / 2) * shape.cache(2)
    transfer = (weights + cache) / (BANDWIDTH_UTILIZATION * machine.bandwidth)
    token = max(transfer, LAYER_OVERHEAD * shape.layers)
    prefill_flops = 2 * shape.parameters * setup.rows * setup.prompt
    prefill = prefill_flops / (COMPUTE_UTILIZATION * machine.flops)
    return setup.completion * token + prefill
