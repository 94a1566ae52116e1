"""The metrics of a run by step: metrics.jsonl, and samples.jsonl with generated lists.

A run that resumes reads metrics.jsonl up to the step of its checkpoint and drops later lines, so
its curves equal those of an undisturbed run.
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
    """Training curves as a table: step, name, value."""
    return pl.DataFrame(list(points), schema=_SCHEMA, orient="row")


class MetricsLog:
    """Appends to the two files in `folder`, and holds all points in memory.

    Lines after `step` are dropped; all of them if it is 0. With several processes, only one
    `is_writer`.
    """

    def __init__(self, folder: Path, step: int = 0, *, is_writer: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.is_writer = is_writer
        self.points: list[tuple[int, str, float]] = []
        for line in _lines_until(folder / METRICS, step):
            self._add_points(line["step"], {name: line[name] for name in line if name != "step"})
        for name in (METRICS, SAMPLES) if is_writer else ():
            _truncate_after(folder / name, step)

    def add_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Append the metrics of a step; a step may have several lines."""
        self._append(METRICS, [{"step": step, **values}])
        self._add_points(step, values)

    def add_samples(self, step: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append lists that the model generated after this step."""
        self._append(SAMPLES, [{"step": step, **row} for row in rows])

    def curve(self, name: str) -> list[tuple[int, float]]:
        """The points (step, value) of one metric."""
        return [(step, value) for step, metric, value in self.points if metric == name]

    def mean(self, name: str, first: int, last: int) -> float:
        """The mean of a metric over steps `first` to `last`, inclusive; 0 without points."""
        values = [value for step, value in self.curve(name) if first <= step <= last]
        return sum(values) / len(values) if values else 0.0

    def frame(self) -> pl.DataFrame:
        """All points as a table: step, name, value."""
        return curve_frame(self.points)

    def copy_to(self, folder: Path) -> None:
        """Copy the two files into a checkpoint's folder."""
        for name in (METRICS, SAMPLES):
            if (self.folder / name).is_file():
                shutil.copyfile(self.folder / name, folder / name)

    def _add_points(self, step: int, values: Mapping[str, float]) -> None:
        self.points += [(step, name, float(value)) for name, value in values.items()]

    def _append(self, name: str, rows: list[dict[str, Any]]) -> None:
        if not self.is_writer:
            return
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a file; ends at a line that a crash cut short."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


def _lines_until(path: Path, step: int) -> list[dict[str, Any]]:
    """The lines up to `step`; none if it is 0."""
    return [line for line in _read_lines(path) if step and line["step"] <= step]


def _truncate_after(path: Path, step: int) -> None:
    """Drop the lines after `step`; all of them if it is 0."""
    if not path.is_file():
        return
    lines = _lines_until(path, step)
    with atomic_path(path) as part, part.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
