"""Shared by the benchmarks: alternating rounds of several ways to do the same work, and results.

Each round runs every way once, in a fresh process, so that other load on the machine affects all of
them. A result is the median and range over the rounds of CPU seconds, which other programs disturb
less than wall-clock time; wall-clock time is reported next to it. A benchmark prints its results as
JSON in its last line, and `table.py` reads them there.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Cost(NamedTuple):
    """Wall-clock seconds, CPU seconds (including children), and peak memory in MB."""

    wall: float
    cpu: float
    peak_mb: float


def command(arguments: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command with the project importable; exit with its stderr if it fails."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    given = {**os.environ, "PYTHONPATH": path, **environment}
    done = subprocess.run(arguments, env=given, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
    return done


def whole(arguments: Sequence[str], **environment: str) -> Cost:
    """The cost of a whole process, including its startup; no memory."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command(arguments, **environment)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(wall, sum(after[:2]) - sum(before[:2]), 0.0)


def child(script: str, *arguments: str, **environment: str) -> Cost:
    """The cost that a script prints by `spent` in its own process, without its startup."""
    done = command([sys.executable, script, "--child", *arguments], **environment)
    return Cost(*json.loads(done.stdout.strip().splitlines()[-1]))


def spent(work: Callable[[], object]) -> None:
    """Do the work and print its cost; memory is that of the whole process."""
    started, cpu = time.perf_counter(), time.process_time()
    work()
    cost = time.perf_counter() - started, time.process_time() - cpu
    print(json.dumps([*cost, peak_mb()]))


def peak_mb() -> float:
    """Peak memory of this process; ru_maxrss would include that of its parent."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def rounds(
    ways: Mapping[str, Callable[[], Cost]], number: int, warm: bool = True
) -> dict[str, list[Cost]]:
    """Costs by way; `warm` adds a first round that is dropped."""
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    for turn in range(number + warm):
        for name, way in ways.items():
            cost = way()
            print(f"{name}: {cost.wall:.2f} s, {cost.cpu:.2f} s CPU", flush=True)
            if turn or not warm:
                costs[name].append(cost)
    return costs


def figure(
    what: str,
    values: Sequence[float],
    goal: float | None,
    unit: str = "×",
    *,
    least: bool = False,
    clock: Sequence[float] = (),
) -> dict[str, Any]:
    """Median and range of one value per round, with its goal: the maximum or minimum allowed.

    A figure without a goal (None) is shown for comparison only.
    """
    middle = statistics.median(values)
    row = {"what": what, "unit": unit, "median": middle, "low": min(values), "high": max(values)}
    if clock:
        row["clock"] = statistics.median(clock)
    rounded = {key: round(x, 3) if isinstance(x, float) else x for key, x in row.items()}
    if goal is None:
        return rounded | {"goal": "", "reached": None}
    reached = middle >= goal if least else middle <= goal
    return rounded | {"goal": f"{'≥' if least else '≤'} {goal:g} {unit}", "reached": reached}


def ratio(
    what: str, ours: Sequence[Cost], theirs: Sequence[Cost], goal: float | None = None
) -> dict[str, Any]:
    """The cost of `ours` divided by that of `theirs`, by round."""
    pairs = list(zip(ours, theirs, strict=True))
    clock = [a.wall / b.wall for a, b in pairs]
    return figure(what, [a.cpu / b.cpu for a, b in pairs], goal, clock=clock)


def report(figures: Sequence[dict[str, Any]], **more: Any) -> None:
    """The last line of a benchmark."""
    print(json.dumps({**more, "figures": list(figures)}, ensure_ascii=False))
