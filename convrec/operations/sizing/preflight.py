"""A dry run of a training's launch: reports what works, and what this machine lacks."""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path

from convrec.config import Config, StageName
from convrec.errors import ConfigError
from convrec.operations.sizing.finding import MISSING, OK, REFUSED, Finding, found
from convrec.operations.sizing.preflight_lists import check_list_length
from convrec.operations.sizing.preflight_memory import check_memory
from convrec.operations.sizing.preflight_model import check_model
from convrec.operations.sizing.preflight_vllm import check_length, check_vllm
from convrec.training.batch_split import configured_split
from convrec.training.launch_settings import (
    LaunchSettings,
    check_stage,
    launch_settings,
    missing_requirements,
)
from convrec.training.memory.micro_batch import TrainingStage
from convrec.training.optimization import missing_for_optimizer
from convrec.training.tracking.run import missing_package

TRAINED: tuple[TrainingStage, ...] = ("sft", "rank_grpo")


def check_training(config: Config) -> list[Finding]:
    """All findings, in order. Raises ConfigError for settings that cannot work on any machine.

    Raises InputError for a base model that cannot be trained.
    """
    gpus = _count_gpus()
    findings = check_model(config)
    findings += check_list_length(config)
    findings += _check_launch(config, gpus)
    findings.append(_check_arguments(config))
    for stage in TRAINED:
        missing = missing_for_optimizer(getattr(config, stage), stage, gpus)
        name = getattr(config, stage).optimizer.name
        findings += found(stage, missing, f"its optimizer is {name}")
    findings += check_vllm(config, gpus)
    findings += _check_attention(config, gpus)
    for tracker in (name for name in config.train.report_to if name not in ("all", "none")):
        findings += found("tracking", _missing_tracker(tracker), f"reports to {tracker}")
    return findings


def refuse_impossible(config: Config, stages: Collection[StageName]) -> None:
    """Raise ConfigError if a training among `stages` cannot work with these settings anywhere.

    Cheap: a run does this before its first stage, when nothing has been paid for.
    """
    if not {*TRAINED} & {*stages}:
        return
    settings = _settings(config, _count_gpus() if config.train.launcher == "accelerate" else 0)
    for stage in TRAINED:
        if stage in stages:
            check_stage(config, stage, settings)
            _check_split(config, stage, settings.processes)
    if config.rank_grpo.vllm and "rank_grpo" in stages:
        check_length(config)


def _count_gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _settings(config: Config, gpus: int) -> LaunchSettings:
    train = config.train
    if train.launcher == "process":
        ignored = [f"train.processes={train.processes}"] if train.processes > 1 else []
        ignored += [f"train.parallel={train.parallel}"] if train.parallel != "ddp" else []
        if ignored:
            raise ConfigError(
                f"{ignored[0]} needs train.launcher=accelerate; train.launcher=process trains in "
                "one process"
            )
        return LaunchSettings({}, 1, sharded=False)
    return launch_settings(config, gpus or _smallest_machine(config))


def _check_launch(config: Config, gpus: int) -> list[Finding]:
    """How the processes share weights and steps."""
    settings = _settings(config, gpus)
    if config.train.launcher == "process":
        findings = _one_process(gpus)
    else:
        text = f"accelerate accepts {config.train.parallel}, {settings.processes} processes"
        findings = [Finding("train", OK, text)]
        missing = missing_requirements(config, settings, gpus)
        findings += [Finding("train", MISSING, text) for text in missing]
    for stage in TRAINED:
        try:
            check_stage(config, stage, settings)
        except ConfigError as error:
            findings.append(Finding(stage, REFUSED, str(error)))
            continue
        findings.append(_check_split(config, stage, settings.processes))
    if gpus:
        import torch

        memory = float(torch.cuda.get_device_properties(0).total_memory)
        findings += check_memory(config, settings.processes, memory)
    return findings


def _one_process(gpus: int) -> list[Finding]:
    if gpus < 2:
        return []
    return [
        Finding(
            "train",
            MISSING,
            f"train.launcher=process trains on one GPU, but {gpus} are visible; set "
            "train.launcher=accelerate, or CUDA_VISIBLE_DEVICES=0",
        )
    ]


def _smallest_machine(config: Config) -> int:
    """GPUs to check the settings with where there are none: those of one vLLM engine."""
    settings = config.rank_grpo
    if config.train.processes or settings.vllm != "colocate":
        return 0
    return settings.vllm_tensor_parallel if settings.vllm_tensor_parallel > 1 else 0


def _check_split(config: Config, stage: TrainingStage, processes: int) -> Finding:
    """The rows of each process. Raises ConfigError for a micro-batch that cannot split lists."""
    settings = getattr(config, stage)
    rows, unit = config.sft.batch_size, "rows"
    if stage == "rank_grpo":
        rows, unit = settings.prompts_per_step * settings.group_size, "lists"
    local = -(-rows // processes)
    most = "up to " if rows % processes else ""
    text = f"{rows} {unit} per step, {most}{local} in each of {processes} processes"
    if settings.micro_batch:
        if stage == "rank_grpo":  # sft completes a step with blank rows
            configured_split(config, "rank_grpo", local)
        return Finding(stage, OK, f"{text}, at most {settings.micro_batch} at once")
    return Finding(stage, OK, f"{text}, as many at once as memory allows")


def _check_arguments(config: Config) -> Finding:
    """TRL's own checks of the arguments of rank_grpo, including vLLM's."""
    from convrec.stages.rank_grpo.arguments import trainer_arguments

    # This process is not one of those that share an engine or a step.
    alone = {"vllm_tensor_parallel": 1, "micro_batch": 0}
    single = config.model_copy(update={"rank_grpo": config.rank_grpo.model_copy(update=alone)})
    with tempfile.TemporaryDirectory() as folder:
        try:
            arguments = trainer_arguments(single, Path(folder), config.seed, assume_vllm=True)
        except ValueError as error:
            raise ConfigError(f"TRL refuses the settings of rank_grpo ({error})") from None
    lists = config.rank_grpo.prompts_per_step * config.rank_grpo.group_size
    sampler = f"vLLM ({arguments.vllm_mode})" if arguments.use_vllm else "this project's sampler"
    text = f"TRL accepts its arguments: {lists} lists per step with {sampler}"
    return Finding("rank_grpo", OK, text)


def _check_attention(config: Config, gpus: int) -> list[Finding]:
    """Whether the package of `train.attn_implementation` is installed; all but two need a GPU."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    name = config.train.attn_implementation
    if not name or name in ("sdpa", "eager"):
        return []
    if "/" not in name and name not in ALL_ATTENTION_FUNCTIONS.valid_keys():  # no kernel on the Hub
        text = f"transformers does not know train.attn_implementation={name}"
        return [Finding("train", REFUSED, f"{text}; set it to sdpa or eager, or leave it empty")]
    if name.startswith("flash_attention_2") and find_spec("flash_attn") is None:
        return found("train", f"train.attn_implementation={name} needs the package flash_attn")
    missing = "" if gpus else f"train.attn_implementation={name} needs a GPU"
    return found("train", missing, f"its attention is {name}")


def _missing_tracker(name: str) -> str:
    """What a tracker lacks, as a phrase; empty if nothing."""
    if package := missing_package(name):
        return (
            f"train.report_to={name} needs the package {package}, which is not installed; "
            "trainings go on without it"
        )
    return ""
