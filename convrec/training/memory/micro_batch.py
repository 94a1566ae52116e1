"""How many rows of a step go through the model at once, and whether activations are recomputed.

A step of a model below MIN_SPLIT_MODEL parameters always goes through in one piece, so that the
same training does the same arithmetic on every machine. Larger models get the largest piece that
fits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from convrec.config import Config, RankGrpo
from convrec.errors import ConvrecError
from convrec.training.memory.available import available_memory
from convrec.training.memory.estimate import (
    BF16_BYTES,
    FLOAT32_BYTES,
    TrainingSetup,
    estimate_memory,
)
from convrec.training.memory.model_shape import ModelShape, loaded_shape
from convrec.utils.distributed import is_sharded, process_count
from convrec.utils.warn_once import warn_once

TrainingStage = Literal["sft", "rank_grpo"]

MIN_SPLIT_MODEL = 50_000_000
"""Parameters below which a step is never split."""

USABLE_MEMORY = 0.9
"""Share of the available memory to plan with; the rest is for fragmentation."""

SCANNING = ("mamba", "jamba", "bamba", "rwkv")
"""Architectures that read a text token by token in Python: counting would take minutes."""

CPU_MODEL, CPU_TOKENS = 100_000_000, 256
"""Parameters from which a CPU gets no more than so many tokens at once: more are hardly faster."""

CPU_BYTES_TRAINED, CPU_BYTES_FROZEN, CPU_BYTES_FREE = 16, 4, 5
"""Bytes per weight that a CPU trains rank_grpo in, from CPU_MODEL on: of a trained weight, of one
under adapters or of the reference model, and for the rest. Recomputing activations costs little
next to sampling."""


@dataclass(frozen=True)
class MicroBatch:
    """The rows of a process in one forward and backward pass, and how activations are kept.

    Attributes:
        rows: A divisor of the rows of a step, so that all passes are equal.
        recompute: Whether the backward pass recomputes activations (gradient checkpointing).
    """

    rows: int
    recompute: bool


def choose_micro_batch(
    model: Any,
    config: Config,
    stage: TrainingStage,
    rows: int,
    *,
    prompt: int = 0,
    completion: int = 0,
    bf16: bool = False,
) -> MicroBatch:
    """The micro-batch of a loaded transformers model, before it gets adapters.

    Args:
        rows: Rows (sft) or lists (rank_grpo) of a step in this process.
        prompt: Tokens of the longest prompt; 0: `model.max_prompt_tokens`.
        completion: Tokens of the longest completion; 0: `model.max_completion_tokens`.
        bf16: Whether arithmetic is bf16.

    `micro_batch`, which must divide `rows`, and `train.gradient_checkpointing` are obeyed where
    they are set. Free memory differs between processes, so one must choose for all.
    """
    requested, checkpointing = getattr(config, stage).micro_batch, fixed_recompute(config)
    fixed = bool(requested) and checkpointing is not None
    scans = any(name in model.config.model_type for name in SCANNING)
    if fixed or scans or int(model.num_parameters()) < MIN_SPLIT_MODEL:
        return MicroBatch(requested or rows, bool(checkpointing))
    limit = _limit(model, config, stage)
    attention = str(model.config._attn_implementation)
    try:
        shape = loaded_shape(model)
        setup = training_setup(
            shape,
            config,
            stage,
            rows,
            prompt=prompt,
            completion=completion,
            bf16=bf16,
            attention=attention if attention == "eager" else "sdpa",
        )
        return fit_micro_batch(shape, setup, limit, requested, checkpointing)
    except ConvrecError:
        raise
    except Exception:  # an architecture without layers, or one that fake tensors cannot run
        warn_once(
            f"the memory of a {model.config.model_type} model cannot be estimated; if {stage} runs "
            f"out of memory, set {stage}.micro_batch"
        )
        return MicroBatch(requested or rows, bool(checkpointing))


def fit_micro_batch(
    shape: ModelShape,
    setup: TrainingSetup,
    limit: float,
    requested: int = 0,
    recompute: bool | None = None,
) -> MicroBatch:
    """The first split whose estimated peak is within `limit` bytes; else the smallest.

    Keeping activations is preferred to recomputing them, even in smaller parts. `requested` and
    `recompute` fix one of the two choices.
    """
    sizes = [requested] if requested else _sizes(shape, setup)
    for recomputed in (False, True) if recompute is None else (recompute,):
        for size in sizes:
            tried = replace(setup, micro_batch=size, recompute=recomputed)
            if estimate_memory(shape, tried).peak <= limit:
                return MicroBatch(size, recomputed)
    return MicroBatch(sizes[-1], True if recompute is None else recompute)


def training_setup(
    shape: ModelShape,
    config: Config,
    stage: TrainingStage,
    rows: int,
    *,
    prompt: int = 0,
    completion: int = 0,
    bf16: bool = False,
    attention: str = "sdpa",
    micro_batch: int = 0,
    recompute: bool = False,
) -> TrainingSetup:
    """The training of `config` as this process runs it."""
    import torch

    settings = getattr(config, stage)
    frozen = BF16_BYTES if config.model.weights == "bfloat16" else FLOAT32_BYTES
    return TrainingSetup(
        stage,
        rows,
        prompt or config.model.max_prompt_tokens,
        completion or config.model.max_completion_tokens,
        micro_batch,
        recompute,
        processes=process_count(),
        sharded=is_sharded(),
        bf16=bf16,
        lora=settings.lora.rank,
        targets=shape.targets(settings.lora, stage),
        reference=stage == "rank_grpo" and config.rank_grpo.beta > 0 and not settings.lora.rank,
        frozen_bytes=frozen,
        optimizer=settings.optimizer.name,
        samples=stage == "rank_grpo" and not config.rank_grpo.vllm,
        attention=attention,
        fused=torch.cuda.is_available(),
    )


def fixed_recompute(config: Config) -> bool | None:
    """Whether `train.gradient_checkpointing` is on; None if it is `auto`."""
    return {"on": True, "off": False}.get(config.train.gradient_checkpointing)


def even_part(rows: int, requested: int) -> int:
    """The rows of each of as few equal parts as `requested` allows; 0 if that is 0."""
    return -(-rows // -(-rows // requested)) if requested else 0


def divisors(rows: int) -> list[int]:
    """The sizes of equal parts of so many rows, the largest first."""
    return [size for size in range(rows, 0, -1) if rows % size == 0]


def _sizes(shape: ModelShape, setup: TrainingSetup) -> list[int]:
    """The sizes to try; on a CPU those from which more rows gain nothing."""
    sizes = divisors(setup.rows)
    if setup.fused or shape.parameters < CPU_MODEL:
        return sizes
    most = CPU_TOKENS // (setup.prompt + setup.completion)
    return [size for size in sizes if size <= max(1, most)]


def _limit(model: Any, config: Config, stage: TrainingStage) -> float:
    """Bytes to plan with. The loaded weights are part of the plan."""
    import torch

    limit = available_memory()
    if torch.cuda.is_available():
        if stage == "rank_grpo" and config.rank_grpo.vllm == "colocate":
            limit -= config.rank_grpo.vllm_memory * torch.cuda.mem_get_info()[1]
        return USABLE_MEMORY * limit
    parameters = int(model.num_parameters())
    limit = USABLE_MEMORY * (limit / process_count() + parameters * FLOAT32_BYTES)
    if stage == "rank_grpo" and parameters >= CPU_MODEL:
        limit = min(limit, _cpu_bytes_per_weight(config.rank_grpo) * parameters)
    return limit


def _cpu_bytes_per_weight(settings: RankGrpo) -> int:
    if settings.lora.rank:
        return CPU_BYTES_FROZEN + CPU_BYTES_FREE
    return CPU_BYTES_TRAINED + CPU_BYTES_FREE + (CPU_BYTES_FROZEN if settings.beta else 0)
