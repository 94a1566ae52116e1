"""What a training is given, in the process of the run or in those that `accelerate` starts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from convrec.config import Config, StageName
from convrec.utils.progress import Progress

Trained = tuple[dict[str, float | int | str], pl.DataFrame]
"""The figures of a training, and its curves (step, name, value)."""

_GIVEN = "given.json"


@dataclass(frozen=True)
class TrainingJob:
    """Rows, settings and places of one training; `fit(given, progress)` does it.

    `out` becomes the checkpoint's folder, `working_folder` is where a killed run left off, and
    `checkpoint` is the folder of the model that training starts from, where there is one.
    """

    stage: StageName
    config: Config
    frames: Mapping[str, pl.DataFrame]
    out: Path
    working_folder: Path | None = None
    checkpoint: Path | None = None

    def write(self, folder: Path) -> None:
        """Lay everything into a folder, rows as Parquet."""
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
        (folder / _GIVEN).write_text(json.dumps(values), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> TrainingJob:
        """What `write` has laid there."""
        values = json.loads((folder / _GIVEN).read_text(encoding="utf-8"))
        return cls(
            stage=values["stage"],
            config=Config.model_validate(values["config"]),
            frames={name: pl.read_parquet(folder / f"{name}.parquet") for name in values["frames"]},
            out=Path(values["out"]),
            working_folder=Path(values["working_folder"]) if values["working_folder"] else None,
            checkpoint=Path(values["checkpoint"]) if values["checkpoint"] else None,
        )


Fit = Callable[[TrainingJob, Progress], Trained]
