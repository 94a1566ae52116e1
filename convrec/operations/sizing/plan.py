"""Select how to train a stage on a machine: strategy, micro-batch, and the time that it takes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from convrec.config import Config
from convrec.errors import InputError
from convrec.operations.sizing.gpus import Machine
from convrec.operations.sizing.overrides import (
    DEFAULT_LORA_RANK,
    Strategy,
    changes,
    overrides,
    tensor_parallel,
)
from convrec.operations.sizing.seconds import VllmEngine, step_seconds
from convrec.training.memory.estimate import (
    BF16_BYTES,
    FLOAT32_BYTES,
    Memory,
    TrainingSetup,
    estimate_memory,
)
from convrec.training.memory.micro_batch import (
    USABLE_MEMORY,
    TrainingStage,
    even_part,
    fit_micro_batch,
    fixed_recompute,
)
from convrec.training.memory.model_shape import ModelShape
from convrec.training.step_count import rank_grpo_steps, sft_steps


@dataclass(frozen=True)
class StagePlan:
    """How to start one stage, its memory and its time.

    `settings` are overrides of the profile by dotted key, `rows` those (or the lists) of one step
    in all processes, `seconds` those of one step by part, and `notes` what else was decided.
    """

    stage: TrainingStage
    parallel: str
    settings: dict[str, Any]
    setup: TrainingSetup
    memory: Memory
    rows: int
    steps: int
    seconds: dict[str, float]
    notes: tuple[str, ...] = ()

    @property
    def hours(self) -> float:
        """Hours of all steps."""
        return self.steps * sum(self.seconds.values()) / 3600


def plan_stage(
    stage: TrainingStage,
    shape: ModelShape,
    machine: Machine,
    config: Config,
    rows: int,
    samples: int,
) -> StagePlan:
    """The first strategy that fits, in micro-batches as large as fit.

    `rows` are the demonstrations of sft, `samples` those with ground truth of rank_grpo. Raises
    InputError if not even single rows with adapters fit.
    """
    engine = _engine(stage, shape, machine, config)
    smallest = math.inf
    for batch in _batch_sizes(stage, machine, config):
        for strategy in _strategies(stage, machine, config):
            setup = stage_setup(stage, shape, config, batch, machine, strategy)
            limit = USABLE_MEMORY * machine.memory
            requested = even_part(setup.rows, getattr(config, stage).micro_batch)
            split = fit_micro_batch(shape, setup, limit, requested, fixed_recompute(config))
            setup = replace(setup, micro_batch=split.rows, recompute=split.recompute)
            memory = estimate_memory(shape, setup)
            if memory.peak <= limit:
                return StagePlan(
                    stage,
                    strategy.parallel,
                    overrides(stage, batch, strategy, split, machine, config),
                    setup,
                    memory,
                    batch if stage == "sft" else batch * config.rank_grpo.group_size,
                    _steps(stage, batch, config, rows if stage == "sft" else samples),
                    step_seconds(shape, setup, machine, engine),
                    changes(stage, batch, strategy, config),
                )
            smallest = min(memory.peak, smallest)
    usable, total = USABLE_MEMORY * machine.memory / 1e9, machine.memory / 1e9
    raise InputError(
        f"{stage} of {shape.name} needs at least {smallest / 1e9:.0f} GB on each GPU, but "
        f"{machine.count}x{machine.name} has {usable:.0f} usable of {total:.0f} GB each; use "
        "larger GPUs or a smaller model, or lower model.max_prompt_tokens"
    )


def _engine(
    stage: TrainingStage, shape: ModelShape, machine: Machine, config: Config
) -> VllmEngine | None:
    """The vLLM engine that samples; None for the built-in sampler.

    Raises InputError if it cannot hold the model and one list.
    """
    settings, model = config.rank_grpo, config.model
    if stage == "sft" or not settings.vllm:
        return None
    gpus = tensor_parallel(machine, config)
    share = settings.vllm_memory if settings.vllm == "colocate" else 1.0
    engine = VllmEngine(gpus, USABLE_MEMORY * share * machine.memory)
    tokens = model.max_prompt_tokens + model.max_completion_tokens
    if engine.capacity(shape, tokens) < 1:
        raise InputError(
            f"rank_grpo.vllm_memory={share:g} of {gpus}x{machine.name} cannot hold the "
            f"{BF16_BYTES * shape.parameters / 1e9:.0f} GB of {shape.name} and a list of {tokens} "
            "tokens; raise it, or rank_grpo.vllm_tensor_parallel"
        )
    return engine


def _strategies(stage: TrainingStage, machine: Machine, config: Config) -> Iterator[Strategy]:
    """The profile's own strategy, then the others, the best first."""
    rank = (config.sft if stage == "sft" else config.rank_grpo).lora.rank
    if rank == 0:
        can_shard = machine.count > 1 and (stage == "sft" or bool(config.rank_grpo.vllm))
        allowed = ["ddp", "fsdp", "zero3"] if can_shard else ["ddp"]
        train = config.train
        own = train.parallel if train.launcher == "accelerate" else ""
        for parallel in sorted(allowed, key=lambda name: name != own):
            yield Strategy(parallel, 0)
    yield Strategy("ddp", rank or DEFAULT_LORA_RANK)


def _batch_sizes(stage: TrainingStage, machine: Machine, config: Config) -> Iterator[int]:
    """Rows (sft) or prompts of a step: the profile's, rounded up to what all GPUs can share.

    The built-in sampler generates all lists at once, so it also gets halves, should they not fit.
    """
    if stage == "sft":
        yield config.sft.batch_size
        return
    multiple = machine.count // math.gcd(machine.count, config.rank_grpo.group_size)
    batch = -(-config.rank_grpo.prompts_per_step // multiple) * multiple
    while True:
        yield batch
        if batch == multiple or config.rank_grpo.vllm:
            return
        batch = max(multiple, batch // 2 // multiple * multiple)


def stage_setup(
    stage: TrainingStage,
    shape: ModelShape,
    config: Config,
    batch: int,
    machine: Machine,
    strategy: Strategy,
) -> TrainingSetup:
    """What one process of a stage holds: `batch` are rows (sft) or prompts of a step."""
    settings, grpo = getattr(config, stage), config.rank_grpo
    rows = batch if stage == "sft" else batch * grpo.group_size
    colocated = stage == "rank_grpo" and grpo.vllm == "colocate"
    return TrainingSetup(
        stage=stage,
        rows=-(-rows // machine.count),
        prompt=config.model.max_prompt_tokens,
        completion=config.model.max_completion_tokens,
        processes=machine.count,
        sharded=strategy.parallel != "ddp",
        bf16=config.model.bf16,
        lora=strategy.lora,
        targets=shape.targets(settings.lora, stage),
        reference=stage == "rank_grpo" and grpo.beta > 0 and not strategy.lora,
        frozen_bytes=BF16_BYTES if config.model.weights == "bfloat16" else FLOAT32_BYTES,
        optimizer=settings.optimizer.name,
        samples=stage == "rank_grpo" and not grpo.vllm,
        vllm=grpo.vllm_memory * machine.memory if colocated else 0,
    )


def _steps(stage: TrainingStage, batch: int, config: Config, samples: int) -> int:
    """Optimizer steps of a stage on so many rows or samples."""
    if stage == "sft":
        return sft_steps(samples, config.sft)
    settings = config.rank_grpo.model_copy(update={"prompts_per_step": batch})
    return rank_grpo_steps(samples, settings)
