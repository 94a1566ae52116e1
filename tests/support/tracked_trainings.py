"""Trainings of a micro student that report to trackers.

    python -m tests.support.tracked_trainings STAGE TRACKER CHECKPOINT HOME STEP

trains in HOME, and kills itself with SIGKILL once STEP is logged (0: never).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from convrec.config import Config
from convrec.stages.rank_grpo.train import train_rank_grpo
from convrec.stages.sft.train import train_sft
from convrec.titles.index import TitleIndex
from convrec.training.job import Figures
from convrec.training.tracking.run import RunIds
from tests.support.trainings import FILMS, KINDS, ROWS, SAMPLES, VALIDATION_SAMPLES, config

ARTIFACT = "checkpoint-0123456789abcdef"
NAMES = {stage: f"convrec-films-{stage}-01234567" for stage in ("sft", "rank_grpo")}


def train_tracked(
    stage: str,
    trackers: list[str],
    checkpoint: Path,
    home: Path,
    on_step: Callable[[int], None] = lambda step: None,
) -> Figures:
    """Train a stage and report it; the figures of the training."""
    torch.set_num_threads(1)
    settings = config(steps=8, save_every=2, **KINDS["rank_grpo"]["rank_grpo"]).model_dump()
    settings |= {"train": {"report_to": trackers}, "profile": "films"}
    settings["sft"] = KINDS["sft"]["sft"]
    settings["model"] |= {"base": str(checkpoint)}
    ids = RunIds(ARTIFACT, "run-1", str(home / "tracking"))
    options: dict[str, Any] = {"working_folder": home / f"{stage}-working", "ids": ids}

    def progress(done: int, total: int, text: str) -> None:
        on_step(done)

    if stage == "sft":
        figures, _ = train_sft(
            ROWS * 3,
            ROWS,
            Config.model_validate(settings),
            home / stage,
            seed=5,
            progress=progress,
            **options,
        )
        return figures
    figures, _ = train_rank_grpo(
        checkpoint,
        SAMPLES,
        TitleIndex(FILMS),
        Config.model_validate(settings),
        home / stage,
        5,
        progress,
        validation=SAMPLES[:VALIDATION_SAMPLES],
        **options,
    )
    return figures


def main(stage: str, tracker: str, checkpoint: str, home: str, last: str) -> None:
    def die(step: int) -> None:
        if step == int(last):
            os.kill(os.getpid(), signal.SIGKILL)

    train_tracked(stage, [tracker], Path(checkpoint), Path(home), die)


if __name__ == "__main__":
    main(*sys.argv[1:])
