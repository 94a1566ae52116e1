"""FSDP and ZeRO-3 on CPU processes (gloo). torch supports them there, but accelerate refuses them.

    python -m tests.support.sharded_training CHECKPOINT OUT FOLDER STEP

trains in two processes, and kills itself with SIGKILL once STEP is reported.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback

from convrec.stages.sft import train
from convrec.stages.sft.build import fit_sft
from convrec.training import launch
from convrec.training.job import FitFunction, Progress, TrainingJob, TrainingResult
from convrec.training.launch_settings import launch_settings
from tests.support.training_jobs import training_job

FSDP = {
    "launcher": "accelerate",
    "parallel": "fsdp",
    "processes": 2,
    "gradient_checkpointing": "on",  # as for models that need sharding
}

ZERO3 = pytest.param(
    "zero3", marks=pytest.mark.skipif(find_spec("deepspeed") is None, reason="needs deepspeed")
)
"""A value of `train.parallel`, skipped without deepspeed."""


def run_sharded(fit: FitFunction, job: TrainingJob, progress: Progress) -> TrainingResult:
    """`launch.run_training` without the check for GPUs."""
    launchable_settings = launch.launchable_settings
    launch.launchable_settings = lambda config, stage: launch_settings(config, gpus=0)
    try:
        return launch.run_training(fit, job, progress)
    finally:
        launch.launchable_settings = launchable_settings


def fit_sharded(
    job: TrainingJob, progress: Progress, *callbacks: TrainerCallback
) -> TrainingResult:
    """`fit_sft` where accelerate sees a GPU; the figures say whether weights were sharded."""
    treat_cpus_as_gpus()
    check = ShardCheck()
    make_trainer = train.make_trainer

    def with_callbacks(*args: Any) -> Any:
        sft_trainer = make_trainer(*args)
        for callback in (check, *callbacks):
            sft_trainer.add_callback(callback)
        return sft_trainer

    train.make_trainer = with_callbacks
    figures, curves = fit_sft(job, progress)
    return {**figures, "sharded": str(check.only_shards).lower()}, curves


class ShardCheck(TrainerCallback):
    """Checks that this process has only half of each weight."""

    only_shards = False

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        weights = list(model.parameters())
        assert weights
        self.only_shards = all(2 * local_size(x) <= _full_size(x) + 1 for x in weights)


def local_size(weight: Any) -> int:
    """Number of elements of a weight that this process trains."""
    if isinstance(weight, DTensor):
        return weight.to_local().numel()
    return int(getattr(weight, "ds_tensor", weight).numel())  # DeepSpeed's shard


def _full_size(weight: Any) -> int:
    return int(getattr(weight, "ds_numel", weight.numel()))


def treat_cpus_as_gpus() -> None:
    from accelerate import state

    def on_cpu(init: Callable[..., None]) -> Callable[..., None]:
        def patched(self: Any, *args: Any, **kwargs: Any) -> None:
            init(self, *args, **{**kwargs, "cpu": False})

        return patched

    def backend(self: Any, *args: Any, **kwargs: Any) -> tuple[str, Any]:
        return "gloo", state.DistributedType.MULTI_GPU

    def device(self: Any) -> None:
        self.device = torch.device("cpu")

    state.PartialState._prepare_backend = backend
    state.PartialState.set_device = device
    for kind in (state.PartialState, state.AcceleratorState):
        kind.__init__ = on_cpu(kind.__init__)


def with_bf16(job: TrainingJob) -> TrainingJob:
    model = job.config.model.model_copy(update={"bf16": True})
    return replace(job, config=job.config.model_copy(update={"model": model}))


def main(checkpoint: str, out: str, folder: str, last: str) -> None:
    def die(done: int, total: int, text: str) -> None:
        if done == int(last):
            os.kill(os.getpid(), signal.SIGKILL)

    # Imported by name, as the processes will import it.
    fit = import_module("tests.support.sharded_training").fit_sharded
    job = training_job("sft", Path(checkpoint), Path(out), Path(folder), **FSDP)
    run_sharded(fit, job, die)


if __name__ == "__main__":
    main(*sys.argv[1:])
