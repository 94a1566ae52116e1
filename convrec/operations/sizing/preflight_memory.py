"""Whether a step fits into the memory of this machine's GPUs."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from convrec.config import Config
from convrec.errors import InputError
from convrec.operations.sizing.finding import Finding, found
from convrec.operations.sizing.gpus import Machine
from convrec.operations.sizing.overrides import Strategy
from convrec.operations.sizing.plan import stage_setup
from convrec.training.launch_settings import SHIPPED
from convrec.training.memory.estimate import estimate_memory
from convrec.training.memory.micro_batch import (
    USABLE_MEMORY,
    TrainingStage,
    even_part,
    fit_micro_batch,
    fixed_recompute,
)
from convrec.training.memory.model_shape import ModelShape, model_shape


def check_memory(config: Config, processes: int, memory: float) -> list[Finding]:
    """A finding for each training on GPUs of `memory` bytes; none for a model of unknown shape."""
    shape = _shape(config)
    if shape is None or config.train.parallel not in SHIPPED:
        return []
    machine = Machine("GPU", processes, memory, flops=1, bandwidth=1, link=1)
    return [
        finding
        for stage in ("sft", "rank_grpo")
        for finding in _check_stage(stage, shape, machine, config)
    ]


def _shape(config: Config) -> ModelShape | None:
    """The shape of a model in a folder or with a shipped configuration."""
    from convrec.models.identity import base_folder

    with suppress(InputError):
        folder = base_folder(config)
        return model_shape(str(folder) if folder else config.model.base)
    return None


def _check_stage(
    stage: TrainingStage, shape: ModelShape, machine: Machine, config: Config
) -> list[Finding]:
    settings, sft = getattr(config, stage), stage == "sft"
    parallel = config.train.parallel if config.train.launcher == "accelerate" else "ddp"
    strategy = Strategy(parallel, settings.lora.rank)
    batch = config.sft.batch_size if sft else config.rank_grpo.prompts_per_step
    setup = stage_setup(stage, shape, config, batch, machine, strategy)
    limit = USABLE_MEMORY * machine.memory
    split = fit_micro_batch(
        shape, setup, limit, even_part(setup.rows, settings.micro_batch), fixed_recompute(config)
    )
    setup = replace(setup, micro_batch=split.rows, recompute=split.recompute)
    peak = estimate_memory(shape, setup).peak
    text = f"a step needs about {peak / 1e9:.1f} GB of a GPU, {split.rows} {_unit(stage)} at once"
    advice = f"{text}, but {limit / 1e9:.1f} are usable; `convrec train plan` says what fits"
    return found(stage, advice if peak > limit else "", text)


def _unit(stage: TrainingStage) -> str:
    return "rows" if stage == "sft" else "lists"
