"""Trainings of a micro student under the launcher, and trainings that fail.

    python -m tests.support.training_jobs STAGE CHECKPOINT OUT FOLDER STEP

trains in two processes, and kills itself with SIGKILL once STEP is reported.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl

from convrec.config import ROOT, Config
from convrec.stages.rank_grpo.build import fit_rank_grpo
from convrec.stages.sft.build import fit_sft
from convrec.training.job import FitFunction, TrainingJob, TrainingResult
from convrec.training.launch import run_training
from convrec.utils.progress import Progress
from tests.support.trainings import FILMS, ROWS, SAMPLES, VALIDATION_SAMPLES, config

FITS: dict[str, FitFunction] = {"sft": fit_sft, "rank_grpo": fit_rank_grpo}
TWO_PROCESSES = {"launcher": "accelerate", "parallel": "ddp", "processes": 2}


def training_job(
    stage: Any, checkpoint: Path, out: Path, folder: Path | None, **train: Any
) -> TrainingJob:
    """A job of `stage`; `train` is that section of the configuration."""
    rank_grpo = {"save_every": 2, "eval_every": 3, "exact": 1.0, "early": -1.0, "beta": 1e-3}
    values = config(steps=8, **rank_grpo).model_dump() | {"train": train}
    values["sft"] = {"epochs": 4, "learning_rate": 1e-2, "batch_size": 2}
    values["model"] |= {"base": str(checkpoint)}
    if stage == "sft":
        frames = {"train": _sft_frame(ROWS * 3), "validation": _sft_frame(ROWS)}
    else:
        frames = {
            "train": _conversations(SAMPLES),
            "validation": _conversations(SAMPLES[:VALIDATION_SAMPLES]),
            "catalog": pl.DataFrame(FILMS, schema=["item_id", "title", "year"], orient="row"),
        }
    return TrainingJob(stage, Config.model_validate(values), frames, out, folder, checkpoint)


def _sft_frame(rows: list[tuple[str, str]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["prompt", "completion"], orient="row")


def _conversations(samples: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(samples, schema_overrides={"prompt": pl.String})


def run_until_killed(module: str, *arguments: object) -> None:
    """Run a module that kills itself; fails if it ends otherwise."""
    result = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == -signal.SIGKILL, result.stderr


def raise_unexpected(job: TrainingJob, progress: Progress) -> TrainingResult:
    """The second process raises an unexpected error."""
    if os.environ.get("RANK") == "1":
        raise KeyError("no such film")
    signal.pause()
    raise AssertionError


def kill_one_process(job: TrainingJob, progress: Progress) -> TrainingResult:
    """The second process is killed, as the system does when memory runs out."""
    if os.environ.get("RANK") == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()
    raise AssertionError


def run_out_of_memory(job: TrainingJob, progress: Progress) -> TrainingResult:
    """A GPU's memory runs out in code that does not handle it."""
    raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")


def find_port_taken(job: TrainingJob, progress: Progress) -> TrainingResult:
    """The port of the first launch is taken."""
    assert job.working_folder is not None
    tried = job.working_folder / "tried"
    if os.environ.get("RANK") == "0" and not tried.exists():
        tried.touch()
        raise RuntimeError("The server socket has failed to listen (errno: 98 - EADDRINUSE)")
    return fit_sft(job, progress)


def exit_silently(job: TrainingJob, progress: Progress) -> TrainingResult:
    """The processes exit without a message."""
    os._exit(7)


def main(stage: str, checkpoint: str, out: str, folder: str, last: str) -> None:
    def die(done: int, total: int, text: str) -> None:
        if done == int(last):
            os.kill(os.getpid(), signal.SIGKILL)

    job = training_job(stage, Path(checkpoint), Path(out), Path(folder), **TWO_PROCESSES)
    run_training(FITS[stage], job, die)


if __name__ == "__main__":
    main(*sys.argv[1:])
