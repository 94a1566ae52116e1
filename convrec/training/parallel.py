"""How several processes share a training: accelerate's configuration, and what is refused.

`train.parallel` names a template that ships beside this file, or any configuration file of
accelerate for one machine. What the machine has (GPUs or none) and `train.processes` are filled in.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from convrec.config import Config, Lora, StageName
from convrec.errors import ConfigError, TrainingError

TEMPLATES = Path(__file__).parent / "templates"
SHIPPED = ("ddp", "fsdp", "zero3")
SHARDED = ("FSDP", "DEEPSPEED")
"""accelerate's names of what gives each process but a part of the weights."""


class Parallel(NamedTuple):
    """What is launched: accelerate's settings, the number of processes, whether weights are cut."""

    settings: dict[str, Any]
    processes: int
    sharded: bool


def parallel(config: Config, gpus: int) -> Parallel:
    """The settings that `config.train` asks for on a machine with so many GPUs.

    Raises ConfigError for a file that accelerate cannot use or that names several machines.
    """
    train = config.train
    shipped = train.parallel in SHIPPED
    path = TEMPLATES / f"{train.parallel}.yaml" if shipped else Path(train.parallel).expanduser()
    settings = _read(path, train.parallel)
    if settings.get("num_machines", 1) > 1:
        raise ConfigError(
            f"train.parallel={train.parallel} names {settings['num_machines']} machines; convrec "
            "launches on the one that it runs on: set num_machines to 1"
        )
    named = 0 if shipped else int(settings.get("num_processes") or 0)
    processes = train.processes or named or max(gpus, 1)
    settings |= {"num_processes": processes, "main_process_port": 0, "machine_rank": 0}
    sharded = str(settings["distributed_type"]) in SHARDED
    if not gpus and not sharded:
        # accelerate starts CPU processes by mpirun alone, unless they are called GPUs.
        settings |= {"use_cpu": True, "distributed_type": "MULTI_GPU" if processes > 1 else "NO"}
    elif processes == 1 and not sharded:
        settings["distributed_type"] = "NO"
    return Parallel(settings, processes, sharded)


def _read(path: Path, given: str) -> dict[str, Any]:
    from accelerate.commands.config.config_args import load_config_from_file

    if not path.is_file():
        raise ConfigError(
            f"train.parallel={given} is no file; give one of {', '.join(SHIPPED)}, or the path of "
            "a configuration file that `accelerate config` wrote"
        )
    try:
        read: dict[str, Any] = load_config_from_file(str(path)).to_dict()
    except Exception as error:  # whatever its parsers raise
        said = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
        raise ConfigError(
            f"train.parallel={given} cannot be read by accelerate ({said}); mend the file, or give "
            f"one of {', '.join(SHIPPED)}"
        ) from None
    return read


def refuse(config: Config, stage: StageName, how: Parallel) -> None:
    """Raise ConfigError where a stage cannot be trained so, whatever the machine."""
    lora, count = _lora(config, stage), how.processes
    if how.sharded and stage == "rank_grpo":
        raise ConfigError(
            f"train.parallel={config.train.parallel} cuts the weights over the processes, and "
            "rank_grpo samples with whole weights in each; use train.parallel=ddp, with "
            "rank_grpo.lora.rank where the model is large"
        )
    if how.sharded and lora.rank:
        raise ConfigError(
            f"train.parallel={config.train.parallel} cuts the weights over the processes, which "
            f"{stage}.lora.rank={lora.rank} does not need: use train.parallel=ddp with it"
        )
    if stage == "sft" and config.sft.batch_size % count:
        raise ConfigError(
            f"{count} processes cannot share sft.batch_size={config.sft.batch_size} rows evenly; "
            f"try --set sft.batch_size={-(-config.sft.batch_size // count) * count}"
        )
    settings = config.rank_grpo
    if stage == "rank_grpo" and settings.prompts_per_step * settings.group_size % count:
        raise ConfigError(uneven(config, count))


def uneven(config: Config, processes: int) -> str:
    """The sentence for lists of a step that processes cannot share."""
    settings = config.rank_grpo
    return (
        f"{processes} processes cannot share rank_grpo.prompts_per_step="
        f"{settings.prompts_per_step} × rank_grpo.group_size={settings.group_size} lists evenly"
    )


def lacking(config: Config, how: Parallel, gpus: int) -> list[str]:
    """What this machine lacks for it, each as a phrase; empty where it can begin."""
    lacks = []
    if how.sharded and not gpus:
        lacks.append(f"train.parallel={config.train.parallel} needs GPUs, and there is none here")
    elif gpus and how.processes > gpus:
        lacks.append(f"{how.processes} processes need as many GPUs, and there are {gpus} here")
    if how.settings["distributed_type"] == "DEEPSPEED" and find_spec("deepspeed") is None:
        lacks.append(
            f"train.parallel={config.train.parallel} needs the package deepspeed, which is not "
            "installed"
        )
    return lacks


def ready(config: Config, stage: StageName) -> Parallel:
    """What to launch on this machine for a stage. Raises ConfigError or TrainingError."""
    import torch

    gpus = torch.cuda.device_count()
    how = parallel(config, gpus)
    refuse(config, stage, how)
    if lacks := lacking(config, how, gpus):
        raise TrainingError(f"{lacks[0]}; use train.parallel=ddp, or another machine")
    return how


def _lora(config: Config, stage: StageName) -> Lora:
    return config.sft.lora if stage == "sft" else config.rank_grpo.lora
