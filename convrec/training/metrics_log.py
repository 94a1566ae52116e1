"""The figures of a run as it goes: metrics.jsonl, one line a step, and samples.jsonl.

The file is the record. A run that goes on after a crash reads it back up to the step of its
checkpoint and drops what came later, so its curves are those of an undisturbed run.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from convrec.utils.files import atomic_path

METRICS, SAMPLES = "metrics.jsonl", "samples.jsonl"
_SCHEMA = {"step": pl.Int32, "name": pl.String, "value": pl.Float64}


def curve_frame(points: Sequence[tuple[int, str, float]]) -> pl.DataFrame:
    """Training curves as the store keeps them: step, name, value."""
    return pl.DataFrame(list(points), schema=_SCHEMA, orient="row")


class MetricsLog:
    """Appends to the two files of `folder`, kept up to `step`, and holds all points in memory.

    Of several processes one `writes`; the others only remember.
    """

    def __init__(self, folder: Path, step: int = 0, *, writes: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.writes = writes
        self.points: list[tuple[int, str, float]] = []
        for line in _until(folder / METRICS, step):
            self._keep(line["step"], {name: line[name] for name in line if name != "step"})
        for name in (METRICS, SAMPLES) if writes else ():
            _cut(folder / name, step)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Append the figures of a step; a step may have several lines."""
        self._append(METRICS, [{"step": step, **values}])
        self._keep(step, values)

    def sample(self, step: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append some lists that the model wrote after this step."""
        self._append(SAMPLES, [{"step": step, **row} for row in rows])

    def curve(self, name: str) -> list[tuple[int, float]]:
        """The points (step, value) of one figure."""
        return [(step, value) for step, kept, value in self.points if kept == name]

    def mean(self, name: str, first: int, last: int) -> float:
        """The mean of a curve over steps `first` to `last`, both included; 0 without points."""
        values = [value for step, value in self.curve(name) if first <= step <= last]
        return sum(values) / len(values) if values else 0.0

    def frame(self) -> pl.DataFrame:
        """All points: columns step, name, value."""
        return curve_frame(self.points)

    def copy_to(self, folder: Path) -> None:
        """Lay the two files beside a checkpoint."""
        for name in (METRICS, SAMPLES):
            if (self.folder / name).is_file():
                shutil.copyfile(self.folder / name, folder / name)

    def _keep(self, step: int, values: Mapping[str, float]) -> None:
        self.points += [(step, name, float(value)) for name, value in values.items()]

    def _append(self, name: str, rows: list[dict[str, Any]]) -> None:
        if not self.writes:
            return
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file; one that a crash cut short is left out."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


def _until(path: Path, step: int) -> list[dict[str, Any]]:
    """The lines up to `step`, none where it is 0."""
    return [line for line in _lines(path) if step and line["step"] <= step]


def _cut(path: Path, step: int) -> None:
    """Drop the lines after `step`, all of them where it is 0."""
    if not path.is_file():
        return
    kept = _until(path, step)
    with atomic_path(path) as part, part.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in kept)
