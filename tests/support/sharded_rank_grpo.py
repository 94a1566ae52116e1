"""Rank-GRPO with sharded weights on CPU processes, with lists from a stand-in for vLLM.

    python -m tests.support.sharded_rank_grpo CHECKPOINT OUT FOLDER STEP

trains in two processes under FSDP, and kills itself with SIGKILL once STEP is reported.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerCallback

from convrec.stages.rank_grpo import train
from convrec.stages.rank_grpo.build import fit_rank_grpo
from convrec.training.job import TrainingJob, TrainingResult
from convrec.utils.progress import Progress
from tests.support.sharded_training import FSDP, ShardCheck, run_sharded, treat_cpus_as_gpus
from tests.support.training_jobs import training_job
from tests.support.vllm_stand_in import StandIn, use_stand_in


def vllm_job(checkpoint: Path, out: Path, folder: Path | None, **launch: Any) -> TrainingJob:
    """A job of rank_grpo that samples with vLLM."""
    job = training_job("rank_grpo", checkpoint, out, folder, **launch)
    vllm = {"vllm": "colocate", "sampler": "free"}
    settings = job.config.rank_grpo.model_copy(update=vllm)
    return replace(job, config=job.config.model_copy(update={"rank_grpo": settings}))


def fit_one(job: TrainingJob, progress: Progress) -> TrainingResult:
    """`fit_rank_grpo` with the stand-in."""
    return _fit(job, progress)


def fit_sharded(job: TrainingJob, progress: Progress) -> TrainingResult:
    """The same with sharded weights; the figures say whether they were, and what was sampled."""
    treat_cpus_as_gpus()
    check = ShardCheck()
    figures, curves = _fit(job, progress, check)
    seen = {"sharded": str(check.only_shards).lower(), "syncs": StandIn.latest.syncs}
    return {**figures, **seen}, curves


def _fit(job: TrainingJob, progress: Progress, *callbacks: TrainerCallback) -> TrainingResult:
    make_trainer = train.make_trainer

    def with_callbacks(*args: Any) -> Any:
        trainer = make_trainer(*args)
        StandIn.latest.trainer = trainer
        for callback in callbacks:
            trainer.add_callback(callback)
        return trainer

    with pytest.MonkeyPatch.context() as patch:
        use_stand_in(patch)
        patch.setattr(train, "make_trainer", with_callbacks)
        return fit_rank_grpo(job, progress)


def main(checkpoint: str, out: str, folder: str, last: str) -> None:
    def die(done: int, total: int, text: str) -> None:
        if done == int(last):
            os.kill(os.getpid(), signal.SIGKILL)

    # Imported by name, as the processes will import it.
    fit = import_module("tests.support.sharded_rank_grpo").fit_sharded
    run_sharded(fit, vllm_job(Path(checkpoint), Path(out), Path(folder), **FSDP), die)


if __name__ == "__main__":
    main(*sys.argv[1:])
