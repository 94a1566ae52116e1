"""The inputs of a training, as passed to the process that runs it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from convrec.config import Config, StageName
from convrec.training.tracking.run import NO_IDS, RunIds
from convrec.utils.progress import Progress

Figures = dict[str, float | int | str]
"""Numbers and short texts that summarize a training."""

TrainingResult = tuple[Figures, pl.DataFrame]
"""The figures of a training, and its curves (step, name, value)."""

_JOB_FILE = "job.json"


@dataclass(frozen=True)
class TrainingJob:
    """Rows, settings and folders of one training.

    The model goes to `out`; a killed run resumes from `working_folder`. `checkpoint` is the initial
    model, if the stage needs one. `ids` name the run for trackers.
    """

    stage: StageName
    config: Config
    frames: Mapping[str, pl.DataFrame]
    out: Path
    working_folder: Path | None = None
    checkpoint: Path | None = None
    ids: RunIds = NO_IDS

    def save(self, folder: Path) -> None:
        """Write the job to a folder, tables as Parquet."""
        for name, frame in self.frames.items():
            frame.write_parquet(folder / f"{name}.parquet")
        paths = {name: getattr(self, name) for name in ("out", "working_folder", "checkpoint")}
        values = {
            "stage": self.stage,
            "config": self.config.model_dump(mode="json"),
            "frames": list(self.frames),
            "paths": {name: str(path.absolute()) for name, path in paths.items() if path},
            "ids": asdict(self.ids),
        }
        (folder / _JOB_FILE).write_text(json.dumps(values), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> TrainingJob:
        """The job that `save` wrote to a folder."""
        values = json.loads((folder / _JOB_FILE).read_text(encoding="utf-8"))
        return cls(
            stage=values["stage"],
            config=Config.model_validate(values["config"]),
            frames={
                name: pl.read_parquet(folder / f"{name}.parquet", glob=False)
                for name in values["frames"]
            },
            ids=RunIds(**values["ids"]),
            **{name: Path(path) for name, path in values["paths"].items()},
        )


FitFunction = Callable[[TrainingJob, Progress], TrainingResult]
"""A module-level function that runs a job; launched processes import it by name."""
