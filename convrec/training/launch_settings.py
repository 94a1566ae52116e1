"""How processes share a training: accelerate's configuration, and combinations that are refused.

`train.parallel` names a template in `templates/`, or any configuration file of accelerate. The
number of processes and the device type (GPU or CPU) are filled in. If the file is for several
machines, this one launches its own share (`convrec.training.join` launches the others).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from convrec.config import Config, RankGrpo, StageName
from convrec.errors import ConfigError, TrainingError
from convrec.utils.error_text import first_line

TEMPLATES = Path(__file__).parent / "templates"
SHIPPED = ("ddp", "fsdp", "zero3")


class LaunchSettings(NamedTuple):
    """accelerate's configuration, the number of processes, and whether the weights are sharded."""

    accelerate: dict[str, Any]
    processes: int
    sharded: bool

    @property
    def machines(self) -> int:
        """Number of machines that train together."""
        return int(self.accelerate.get("num_machines") or 1)


def launch_settings(config: Config, gpus: int) -> LaunchSettings:
    """The settings that `config.train` selects on a machine with so many GPUs.

    `gpus` are those of each machine. Raises ConfigError for a file that accelerate cannot use.
    """
    train = config.train
    is_shipped = train.parallel in SHIPPED
    path = TEMPLATES / f"{train.parallel}.yaml" if is_shipped else Path(train.parallel).expanduser()
    accelerate = _read_accelerate_file(path, train.parallel)
    machines = int(accelerate.get("num_machines") or 1)
    in_file = 0 if is_shipped else max(0, int(accelerate.get("num_processes") or 0))  # or -1
    processes = train.processes or in_file or machines * max(gpus, 1)
    accelerate |= {"num_processes": processes, "machine_rank": 0}
    if machines == 1:
        accelerate["main_process_port"] = 0  # any free one
    elif message := _machines_error(accelerate, machines):
        raise ConfigError(f"train.parallel={train.parallel} is for {machines} machines, {message}")
    sharded = str(accelerate["distributed_type"]) in ("FSDP", "DEEPSPEED")
    # A step's number of passes is known when the model is loaded.
    accelerate.get("deepspeed_config", {}).pop("gradient_accumulation_steps", None)
    if not gpus and not sharded:
        # accelerate starts CPU processes only through mpirun, unless they are declared as GPUs.
        accelerate |= {"use_cpu": True, "distributed_type": "MULTI_GPU" if processes > 1 else "NO"}
    elif processes == 1 and not sharded:
        accelerate["distributed_type"] = "NO"
    return LaunchSettings(accelerate, processes, sharded)


def _machines_error(accelerate: dict[str, Any], machines: int) -> str:
    """What a file for several machines lacks, "" if nothing."""
    for name in ("main_process_ip", "main_process_port"):
        if not accelerate.get(name):
            return f"but has no {name}; set it to that of the machine that runs convrec"
    if accelerate["num_processes"] % machines:
        return f"which cannot share {accelerate['num_processes']} processes evenly"
    return ""


def _read_accelerate_file(path: Path, name: str) -> dict[str, Any]:
    from accelerate.commands.config.config_args import load_config_from_file

    if not path.is_file():
        raise ConfigError(
            f"train.parallel={name} is not a file; set it to one of {', '.join(SHIPPED)}, or to "
            "the path of a configuration file written by `accelerate config`"
        )
    try:
        return dict(load_config_from_file(str(path)).to_dict())
    except Exception as error:  # whatever its parsers raise
        raise ConfigError(
            f"train.parallel={name} cannot be read by accelerate ({first_line(error)}); correct "
            f"the file, or set train.parallel to one of {', '.join(SHIPPED)}"
        ) from None


def check_stage(config: Config, stage: StageName, settings: LaunchSettings) -> None:
    """Raise ConfigError if the stage cannot be trained with these settings on any machine."""
    parallel, processes = config.train.parallel, settings.processes
    if settings.sharded and stage == "rank_grpo" and not config.rank_grpo.vllm:
        raise ConfigError(
            f"train.parallel={parallel} shards the weights across processes, but rank_grpo samples "
            "with the full weights in each; sample with rank_grpo.vllm=colocate and "
            "rank_grpo.sampler=free, or use train.parallel=ddp, with rank_grpo.lora.rank for a "
            "large model"
        )
    lora = config.sft.lora if stage == "sft" else config.rank_grpo.lora
    if settings.sharded and lora.rank:
        raise ConfigError(
            f"train.parallel={parallel} shards the weights across processes, which is not "
            f"supported with {stage}.lora.rank={lora.rank}; use train.parallel=ddp"
        )
    lists = config.rank_grpo.prompts_per_step * config.rank_grpo.group_size
    if stage == "rank_grpo" and lists % processes:
        raise ConfigError(uneven_lists_error(config, processes))
    if stage == "rank_grpo" and (message := uneven_engines_error(config.rank_grpo, processes)):
        raise ConfigError(message)


def uneven_engines_error(settings: RankGrpo, processes: int) -> str:
    """The message for processes that cannot form groups of one vLLM engine each, else ""."""
    size = settings.vllm_tensor_parallel
    if settings.vllm != "colocate" or processes % size == 0:
        return ""
    return (
        f"rank_grpo.vllm_tensor_parallel={size} does not divide the number of training processes, "
        f"{processes}; choose a divisor of it, or another train.processes"
    )


def uneven_lists_error(config: Config, processes: int) -> str:
    """The message for lists of a step that processes cannot share evenly."""
    settings = config.rank_grpo
    return (
        f"{processes} processes cannot share rank_grpo.prompts_per_step="
        f"{settings.prompts_per_step} × rank_grpo.group_size={settings.group_size} lists evenly"
    )


def missing_requirements(config: Config, settings: LaunchSettings, gpus: int) -> list[str]:
    """What this machine lacks for these settings, as phrases; empty if it can launch them."""
    parallel, missing = config.train.parallel, []
    if settings.sharded and not gpus:
        missing.append(f"train.parallel={parallel} needs GPUs, but this machine has none")
    elif gpus and settings.processes > gpus * settings.machines:
        local = settings.processes // settings.machines
        missing.append(f"{local} processes need {local} GPUs, but this machine has {gpus}")
    if settings.accelerate["distributed_type"] == "DEEPSPEED" and find_spec("deepspeed") is None:
        missing.append(
            f"train.parallel={parallel} needs the package deepspeed, which is not installed "
            "(pip install -c constraints.txt -e '.[deepspeed]')"
        )
    return missing


def launchable_settings(config: Config, stage: StageName) -> LaunchSettings:
    """The settings to launch a stage with on this machine.

    Raises ConfigError if they cannot work anywhere, TrainingError if this machine lacks something.
    """
    import torch

    gpus = torch.cuda.device_count()
    settings = launch_settings(config, gpus)
    check_stage(config, stage, settings)
    if missing := missing_requirements(config, settings, gpus):
        raise TrainingError(f"{missing[0]}; use train.parallel=ddp, or another machine")
    return settings


def check_vllm_installed(settings: RankGrpo) -> None:
    """Raise TrainingError if `rank_grpo` is to sample with vLLM, which is not installed."""
    if settings.vllm and find_spec("vllm") is None:
        raise TrainingError(
            f"rank_grpo.vllm={settings.vllm} needs the package vllm, which is not installed; "
            "install it on a machine with a GPU, or leave rank_grpo.vllm empty"
        )
