"""What a plan changes in a profile: the settings to override, and why, in sentences."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

from convrec.config import Config
from convrec.operations.sizing.gpus import Machine
from convrec.training.memory.micro_batch import MicroBatch, TrainingStage

DEFAULT_LORA_RANK = 16
"""Rank of adapters if the profile has none and training all weights does not fit."""

ADAPTER_RATE = 10
"""Factor of the learning rate if the plan trains adapters where the profile trains all weights: the
rule of thumb of "LoRA Without Regret" (Schulman et al., Thinking Machines Lab, 2025)."""

_LAUNCH = ("train.launcher", "train.parallel", "train.processes")
"""Settings that are named even where the profile has the same."""


class Strategy(NamedTuple):
    """`train.parallel`, and the rank of adapters (0: all weights are trained)."""

    parallel: str
    lora: int


def tensor_parallel(machine: Machine, config: Config) -> int:
    """GPUs of one vLLM engine: the most that divide the machine's and the profile's."""
    if config.rank_grpo.vllm != "colocate":
        return 1
    return math.gcd(machine.count, config.rank_grpo.vllm_tensor_parallel)


def overrides(
    stage: TrainingStage,
    batch: int,
    strategy: Strategy,
    split: MicroBatch,
    machine: Machine,
    config: Config,
) -> dict[str, Any]:
    """The settings of the plan that the profile does not have, by dotted key."""
    settings = getattr(config, stage)
    batch_key = "batch_size" if stage == "sft" else "prompts_per_step"
    planned: dict[str, Any] = {
        f"{stage}.{batch_key}": batch,
        f"{stage}.micro_batch": split.rows,
        "train.launcher": "accelerate",
        "train.parallel": strategy.parallel,
        "train.processes": machine.count,
    }
    if strategy.lora:
        planned[f"{stage}.lora.rank"] = strategy.lora
        if not settings.lora.rank:
            planned[f"{stage}.learning_rate"] = float(f"{ADAPTER_RATE * settings.learning_rate:g}")
    if stage == "rank_grpo" and settings.vllm == "colocate":
        planned["rank_grpo.vllm_tensor_parallel"] = tensor_parallel(machine, config)
    return {
        key: value
        for key, value in planned.items()
        if key in _LAUNCH or value != _setting(config, key)
    }


def _setting(config: Config, key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


def changes(
    stage: TrainingStage, batch: int, strategy: Strategy, config: Config
) -> tuple[str, ...]:
    """What the plan changes in the result of the training, as sentences."""
    settings, notes = getattr(config, stage), []
    if strategy.lora and not settings.lora.rank:
        rate = settings.learning_rate
        notes.append(
            f"{stage}: all weights do not fit, so adapters of rank {strategy.lora} are trained, "
            f"with {ADAPTER_RATE} × the learning rate ({rate:g} → {ADAPTER_RATE * rate:g}), a rule "
            "of thumb"
        )
    wanted = settings.batch_size if stage == "sft" else settings.prompts_per_step
    if batch != wanted:
        unit = "rows" if stage == "sft" else "prompts"
        notes.append(f"{stage}: {batch} {unit} per step instead of {wanted}")
    return tuple(notes)


def run_commands(
    profile: str, assignments: list[str], stages: Mapping[TrainingStage, Mapping[str, Any]]
) -> list[str]:
    """The `convrec run` commands of a plan: one, or one for each stage if their launches differ.

    `assignments` are those of the plan's own command line. Settings of a later stage are repeated
    in each command, and `train.*` is in no artifact id, so the second command finds the first
    stage's checkpoint in the cache.
    """
    results = {
        key: value
        for settings in stages.values()
        for key, value in settings.items()
        if key not in _LAUNCH
    }
    launches = [{key: settings[key] for key in _LAUNCH} for settings in stages.values()]
    commands = []
    for stage, launch in zip(stages, launches, strict=True):
        if stage == "sft" and len(launches) > 1 and launch == launches[-1]:
            continue
        until = ["--until", "sft"] if stage == "sft" else []
        values = [f"{key}={value}" for key, value in {**results, **launch}.items()]
        words = [word for text in [*assignments, *values] for word in ("--set", text)]
        commands.append(shlex.join(["convrec", "run", profile, *until, *words]))
    return commands
