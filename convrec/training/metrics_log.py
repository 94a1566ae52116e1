"""The metrics of a run by step: metrics.jsonl, and samples.jsonl with generated lists.

A run that resumes reads metrics.jsonl up to the step of its checkpoint and drops later lines, so
its curves equal those of an undisturbed run.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from convrec.utils.files import atomic_path

METRICS, SAMPLES = "metrics.jsonl", "samples.jsonl"


class MetricsListener(Protocol):
    """Gets what is added to a metrics log, such as a tracker."""

    def add_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """The metrics of a step."""

    def add_samples(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Lists that the model generated after a step."""


class MetricsLog:
    """Appends to the two files in `folder`, and holds all points in memory.

    Lines after `step` are dropped; all of them if it is 0. With several processes, only one
    `is_writer`. What is added also goes to the `listener`, if there is one.
    """

    listener: MetricsListener | None = None

    def __init__(self, folder: Path, step: int = 0, *, is_writer: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.is_writer = is_writer
        self.points: list[tuple[int, str, float]] = []
        for line in _lines_until(folder / METRICS, step):
            self._add_points(line.pop("step"), line)
        for path in (folder / METRICS, folder / SAMPLES):
            if is_writer and path.is_file():
                lines = _lines_until(path, step)
                with atomic_path(path) as part:
                    _append_lines(part, lines)

    def add_metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Append the metrics of a step; a step may have several lines."""
        self._append(METRICS, [{"step": step, **values}])
        self._add_points(step, values)
        if self.listener is not None:
            self.listener.add_metrics(step, values)

    def add_samples(self, step: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append lists that the model generated after this step."""
        samples = list(rows)
        self._append(SAMPLES, [{"step": step, **row} for row in samples])
        if self.listener is not None:
            self.listener.add_samples(step, samples)

    def curve(self, name: str) -> list[tuple[int, float]]:
        """The points (step, value) of one metric."""
        return [(step, value) for step, metric, value in self.points if metric == name]

    def latest(self, prefix: str, *, except_for: tuple[str, ...] = ()) -> float | None:
        """The last value of a metric whose name has the prefix, and no suffix of `except_for`."""
        for _, name, value in reversed(self.points):
            if name.startswith(prefix) and not name.endswith(except_for):
                return value
        return None

    def mean(self, name: str, first: int, last: int) -> float:
        """The mean of a metric over steps `first` to `last`, inclusive; 0 without points."""
        values = [value for step, value in self.curve(name) if first <= step <= last]
        return sum(values) / len(values) if values else 0.0

    def frame(self) -> pl.DataFrame:
        """All points as a table: step, name, value."""
        schema = {"step": pl.Int32, "name": pl.String, "value": pl.Float64}
        return pl.DataFrame(self.points, schema=schema, orient="row")

    def copy_to(self, folder: Path) -> None:
        """Copy the two files into a checkpoint's folder."""
        for name in (METRICS, SAMPLES):
            if (self.folder / name).is_file():
                shutil.copyfile(self.folder / name, folder / name)

    def _add_points(self, step: int, values: Mapping[str, float]) -> None:
        self.points += [(step, name, float(value)) for name, value in values.items()]

    def _append(self, name: str, rows: list[dict[str, Any]]) -> None:
        if self.is_writer:
            _append_lines(self.folder / name, rows)


def _append_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _lines_until(path: Path, step: int) -> list[dict[str, Any]]:
    """The lines up to `step`, none if it is 0; ends at a line that a crash cut short."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if step and path.is_file() else ():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return [line for line in lines if line["step"] <= step]
