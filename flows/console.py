"""What the terminal shows of a run: a line for each artifact, a bar during long steps."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from convrec.operations.load_summary import reason_counts

if TYPE_CHECKING:
    import polars as pl

_LOGGER = logging.getLogger("convrec")

BAR_WIDTH = 20

PLAIN_EVERY = 15.0
"""Seconds between progress lines if the output is not a terminal."""

SHOWN_SLICES = ("constraint", "named in training")
"""Properties of samples whose slices the terminal shows."""

MAX_REASONS = 3
"""Reasons of the quarantine that the end of a run names."""

HEADLINE = ("recall@5", "recall@20", "ndcg@5", "ndcg@20", "in_catalog", "format")


class ConsoleListener(logging.Handler):
    """Shows a run and convrec's warnings on a rich console; a context manager.

    `check` is called whenever the run goes on: an interrupted run ends there, if a library has
    swallowed the interruption. `summarize` gives lines about what ingest loaded, by the ids of its
    artifacts.

    Attributes:
        warnings: How many warnings were shown.
    """

    def __init__(
        self,
        console: Console,
        check: Callable[[], None] = lambda: None,
        summarize: Callable[[Mapping[str, str]], Sequence[str]] = lambda ids: (),
    ) -> None:
        super().__init__(logging.WARNING)
        self.console = console
        self.warnings = 0
        self._summarize = summarize
        self._loaded: dict[str, Mapping[str, Any]] = {}
        self._check = check
        # A long text continues on the next line; it is not cut.
        text = TextColumn("{task.description}", table_column=Column(overflow="fold"), markup=False)
        columns = (text, BarColumn(BAR_WIDTH), TimeElapsedColumn())
        self._bar = Progress(*columns, console=console, transient=True)
        self._task: TaskID | None = None
        self._shown = 0.0

    def __enter__(self) -> ConsoleListener:
        _LOGGER.addHandler(self)
        if self.console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        _LOGGER.removeHandler(self)
        if self.console.is_terminal:
            self._bar.stop()

    def emit(self, record: logging.LogRecord) -> None:
        """Print a warning."""
        self.warnings += 1
        self.console.print(f"warning: {record.getMessage()}", soft_wrap=True, markup=False)

    def progress(self, name: str, done: int, total: int, text: str) -> None:
        """Move the bar; without a terminal, print a line from time to time."""
        self._check()
        if self.console.is_terminal:
            if self._task is None:
                self._task = self._bar.add_task(name, total=total)
            shown = progress_text(name, done, total, text)
            self._bar.update(self._task, description=shown, completed=done, total=total)
        elif time.monotonic() - self._shown > PLAIN_EVERY:
            self._shown = time.monotonic()
            shown = progress_text(name, done, total, text)
            self.console.print(f"  {shown}", soft_wrap=True, markup=False)

    def finished(self, entry: Mapping[str, Any], note: str) -> None:
        """Print the line of an artifact."""
        self._check()
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
        if note.startswith("after --until"):
            return
        rows = "" if entry["rows"] is None else f"{entry['rows']:,} rows"
        line = (
            f"{entry['stage']:<10} {entry['kind']:<17} {entry['state']:<10}"
            f" {rows:>13} {entry['seconds']:>7.1f} s  {note or entry['artifact_id']}"
        )
        if usable := entry.get("answers_usable"):
            line += f"  answers usable: {usable}"
        self.console.print(line.rstrip(), soft_wrap=True, markup=False)
        if entry["stage"] == "ingest":
            self._loaded[entry["kind"]] = entry
            if entry["kind"] == "quarantine":
                self._print_load()

    def _print_load(self) -> None:
        """Print what ingest read, kept and set aside, unless all of it was loaded before."""
        if all(entry["state"] == "cached" for entry in self._loaded.values()):
            return
        ids = {kind: entry["artifact_id"] for kind, entry in self._loaded.items()}
        self._loaded.clear()
        for line in self._summarize(ids):
            self.console.print(f"  {line}", soft_wrap=True, markup=False)


def progress_text(name: str, done: int, total: int, text: str) -> str:
    """A step, how far it is, and what it says of its rate, its cost and the time left."""
    return f"{name.replace('_', ' ')}: {done:,} of {total:,}{f'; {text}' if text else ''}"


def set_aside_text(stages: Sequence[Mapping[str, Any]], quarantine: pl.DataFrame) -> str:
    """How many rows of the input were set aside, and the most frequent reasons; empty for none."""
    rows = {entry["kind"]: entry for entry in stages if entry["stage"] == "ingest"}
    if quarantine.is_empty() or "quarantine" not in rows:
        return ""
    kept = sum(rows[kind]["rows"] for kind in ("catalog", "conversations") if kind in rows)
    common = reason_counts(quarantine)
    reasons = [f"{count:,} × {reason}" for reason, count in common[:MAX_REASONS]]
    others = sum(count for _, count in common[MAX_REASONS:])
    return (
        f"set aside: {quarantine.height:,} of {kept + quarantine.height:,} input rows, "
        f"{'; '.join(reasons)}{f'; {others:,} more' if others else ''} (`convrec artifacts show "
        f"{rows['quarantine']['artifact_id']}`)"
    )


def systems_table(metrics: Mapping[str, Mapping[str, float]], test_set: Mapping[str, Any]) -> Table:
    """Recall and NDCG at 5 and 20 and the in-catalog and format rates of each system, on test.

    The title has the number of posts or dialogues that intervals are over, if it is known.
    """
    counts = sorted(test_set.get("units", {}).values())
    title = "test split, protocol `standard`"
    if counts:
        number = f"{counts[0]:,} to {counts[-1]:,}" if counts[0] < counts[-1] else f"{counts[0]:,}"
        title = f"{title}, intervals over {number} {test_set['unit']}"
    table = _whole_table("system", *HEADLINE, title=title)
    for system, figures in metrics.items():
        cells = (figures.get(name) for name in HEADLINE)
        table.add_row(system, *("–" if cell is None else f"{cell:.3f}" for cell in cells))
    return table


def slices_table(slices: Sequence[Mapping[str, Any]], what: str) -> Table | None:
    """NDCG@20 of each system on the slices of one property; None if it makes no slices."""
    rows = [
        row for row in slices if row["metric"] == "ndcg@20" and row["slice"].startswith(f"{what}: ")
    ]
    parts = list(dict.fromkeys(row["slice"] for row in rows))
    if not parts:
        return None
    counts = {part: max(row["n"] for row in rows if row["slice"] == part) for part in parts}
    columns = (f"{part.removeprefix(f'{what}: ')} ({counts[part]:,})" for part in parts)
    table = _whole_table("system", *columns, title=f"NDCG@20 by {what} (number of samples)")
    values = {(row["system"], row["slice"]): row for row in rows}
    for system in dict.fromkeys(row["system"] for row in rows):
        cells = (values.get((system, part)) for part in parts)
        table.add_row(system, *("–" if cell is None else _estimate(cell) for cell in cells))
    return table


def _whole_table(*headings: str, title: str) -> Table:
    """A table whose cells continue on the next line where they do not fit."""
    return Table(*(Column(heading, overflow="fold") for heading in headings), title=title)


def _estimate(row: Mapping[str, Any]) -> str:
    return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
