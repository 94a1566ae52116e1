"""The inputs of a training, as passed to the process that runs it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from convrec.config import Config, StageName
from convrec.utils.progress import Progress

Figures = dict[str, float | int | str]
"""Numbers and short texts that summarize a training."""

TrainingResult = tuple[Figures, pl.DataFrame]
"""The figures of a training, and its curves (step, name, value)."""

_JOB_FILE = "job.json"


@dataclass(frozen=True)
class TrainingJob:
    """Rows, settings and folders of one training.

    Attributes:
        stage: `sft` or `rank_grpo`.
        config: All settings.
        frames: The stage's tables by name.
        out: The folder to write the checkpoint to.
        working_folder: The folder that a killed run resumes from.
        checkpoint: The folder of the initial model, if the stage needs one.
    """

    stage: StageName
    config: Config
    frames: Mapping[str, pl.DataFrame]
    out: Path
    working_folder: Path | None = None
    checkpoint: Path | None = None

    def save(self, folder: Path) -> None:
        """Write the job to a folder, tables as Parquet."""
        for name, frame in self.frames.items():
            frame.write_parquet(folder / f"{name}.parquet")
        values: dict[str, Any] = {
            "stage": self.stage,
            "config": self.config.model_dump(mode="json"),
            "frames": list(self.frames),
            "out": str(self.out.absolute()),
            "working_folder": self.working_folder and str(self.working_folder.absolute()),
            "checkpoint": self.checkpoint and str(self.checkpoint.absolute()),
        }
        (folder / _JOB_FILE).write_text(json.dumps(values), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> TrainingJob:
        """The job that `save` wrote to a folder."""
        values = json.loads((folder / _JOB_FILE).read_text(encoding="utf-8"))
        return cls(
            stage=values["stage"],
            config=Config.model_validate(values["config"]),
            frames={name: pl.read_parquet(folder / f"{name}.parquet") for name in values["frames"]},
            out=Path(values["out"]),
            working_folder=Path(values["working_folder"]) if values["working_folder"] else None,
            checkpoint=Path(values["checkpoint"]) if values["checkpoint"] else None,
        )


FitFunction = Callable[[TrainingJob, Progress], TrainingResult]
"""A module-level function that runs a job; launched processes import it by name."""
