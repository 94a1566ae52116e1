"""FSDP and ZeRO-3 over CPU processes (gloo): there they work too, but accelerate refuses them.

    python -m tests.scale.cut CHECKPOINT OUT FOLDER STEP

trains so in two processes, and kills itself with SIGKILL when STEP has been reported.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback

from convrec.stages.sft import train
from convrec.stages.sft.build import fit_sft
from convrec.training import launch
from convrec.training.job import Fit, Progress, Trained, TrainingJob
from convrec.training.parallel import parallel
from tests.scale.fits import given

CUT = {"launcher": "accelerate", "parallel": "fsdp", "processes": 2}


def trained(fit: Fit, given: TrainingJob, progress: Progress) -> Trained:
    """`launch.trained`, where nothing lacks for want of GPUs."""
    ready = launch.ready
    launch.ready = lambda config, stage: parallel(config, gpus=0)
    try:
        return launch.trained(fit, given, progress)
    finally:
        launch.ready = ready


def fit_cut(given: TrainingJob, progress: Progress, *callbacks: TrainerCallback) -> Trained:
    """`fit_sft` where accelerate sees a GPU; figures say whether this process had a part."""
    _take_for_gpu()
    part = _Part()
    made = train._trainer

    def trainer(*asked: Any) -> Any:
        of = made(*asked)
        for callback in (part, *callbacks):
            of.add_callback(callback)
        return of

    train._trainer = trainer
    train.CHECKPOINTED = min(1, train.CHECKPOINTED)  # as models have it that are cut
    figures, curves = fit_sft(given, progress)
    return {**figures, "cut": str(part.only).lower()}, curves


class _Part(TrainerCallback):
    """Looks whether this process has but half of each weight."""

    only = False

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self.only = all(2 * held(weight) <= _whole(weight) + 1 for weight in model.parameters())


def held(weight: Any) -> int:
    """How many numbers of a weight are this process's to train."""
    if isinstance(weight, DTensor):
        return weight.to_local().numel()
    return int(getattr(weight, "ds_tensor", weight).numel())  # of DeepSpeed


def _whole(weight: Any) -> int:
    return int(getattr(weight, "ds_numel", weight.numel()))


def _take_for_gpu() -> None:
    from accelerate import state

    def on_cpu(begin: Callable[..., None]) -> Callable[..., None]:
        def init(self: Any, *given: Any, **named: Any) -> None:
            begin(self, *given, **{**named, "cpu": False})

        return init

    def backend(self: Any, *given: Any, **named: Any) -> tuple[str, Any]:
        return "gloo", state.DistributedType.MULTI_GPU

    def device(self: Any) -> None:
        self.device = torch.device("cpu")

    state.PartialState._prepare_backend = backend
    state.PartialState.set_device = device
    for kind in (state.PartialState, state.AcceleratorState):
        kind.__init__ = on_cpu(kind.__init__)


def with_bf16(asked: TrainingJob) -> TrainingJob:
    model = asked.config.model.model_copy(update={"bf16": True})
    return replace(asked, config=asked.config.model_copy(update={"model": model}))


def main(checkpoint: str, out: str, folder: str, last: str) -> None:
    def die(done: int, total: int, text: str) -> None:
        if done == int(last):
            os.kill(os.getpid(), signal.SIGKILL)

    fit = import_module("tests.scale.cut").fit_cut  # as the processes will import it
    trained(fit, given("sft", Path(checkpoint), Path(out), Path(folder), **CUT), die)


if __name__ == "__main__":
    main(*sys.argv[1:])
