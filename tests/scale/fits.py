"""Trainings of a micro student for the launcher, and some that go wrong.

    python -m tests.scale.fits STAGE CHECKPOINT OUT FOLDER STEP

trains in two processes, and kills itself with SIGKILL when STEP has been reported.
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
from convrec.training.job import Fit, Trained, TrainingJob
from convrec.training.launch import trained
from convrec.utils.progress import Progress
from tests.convrec.stages.rank_grpo.world import FILMS, ROWS, SAMPLES, VALIDATED, config

FITS: dict[str, Fit] = {"sft": fit_sft, "rank_grpo": fit_rank_grpo}
TWO = {"launcher": "accelerate", "parallel": "ddp", "processes": 2}


def given(
    stage: Any, checkpoint: Path, out: Path, folder: Path | None, **train: Any
) -> TrainingJob:
    """What a training of `stage` is given; `train` is the section of the configuration."""
    reinforce = {"save_every": 2, "eval_every": 3, "exact": 1.0, "early": -1.0, "beta": 1e-3}
    values = config(steps=8, **reinforce).model_dump() | {"train": train}
    values["sft"] = {"epochs": 4, "learning_rate": 1e-2, "batch_size": 2}
    values["model"] |= {"base": str(checkpoint)}
    lessons = {"schema": ["prompt", "completion"], "orient": "row"}
    frames = (
        {"train": pl.DataFrame(ROWS * 3, **lessons), "validation": pl.DataFrame(ROWS, **lessons)}
        if stage == "sft"
        else {
            "train": pl.DataFrame(SAMPLES, schema_overrides={"prompt": pl.String}),
            "validation": pl.DataFrame(SAMPLES[:VALIDATED], schema_overrides={"prompt": pl.String}),
            "catalog": pl.DataFrame(FILMS, schema=["item_id", "title", "year"], orient="row"),
        }
    )
    return TrainingJob(stage, Config.model_validate(values), frames, out, folder, checkpoint)


def launch_killed(module: str, *arguments: object) -> None:
    """Run a module that kills itself, and see that it did."""
    ended = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def unexpected(given: TrainingJob, progress: Progress) -> Trained:
    """An error that nobody foresaw, of the second process."""
    if os.environ.get("RANK") == "1":
        raise KeyError("no such film")
    signal.pause()
    raise AssertionError


def killed(given: TrainingJob, progress: Progress) -> Trained:
    """The system takes a process for want of memory."""
    if os.environ.get("RANK") == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()
    raise AssertionError


def too_large(given: TrainingJob, progress: Progress) -> Trained:
    """A GPU's memory runs out where nothing looks for it."""
    raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")


def port_taken(given: TrainingJob, progress: Progress) -> Trained:
    """The first launch comes too late for its port."""
    assert given.working_folder is not None
    tried = given.working_folder / "tried"
    if os.environ.get("RANK") == "0" and not tried.exists():
        tried.touch()
        raise RuntimeError("The server socket has failed to listen (errno: 98 - EADDRINUSE)")
    return fit_sft(given, progress)


def leaves(given: TrainingJob, progress: Progress) -> Trained:
    """A process ends without a word."""
    os._exit(7)


def main(stage: str, checkpoint: str, out: str, folder: str, last: str) -> None:
    def die(done: int, total: int, text: str) -> None:
        if done == int(last):
            os.kill(os.getpid(), signal.SIGKILL)

    trained(FITS[stage], given(stage, Path(checkpoint), Path(out), Path(folder), **TWO), die)


if __name__ == "__main__":
    main(*sys.argv[1:])
