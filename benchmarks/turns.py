"""What the benchmarks share: ways to the same work that take turns, and figures of their rounds.

Each round runs every way once, in a fresh process, so that what else the machine does meets all of
them. A figure is the median and range over the rounds, of processor seconds, which other programs
disturb less than the clock; the clock's stand beside it. A benchmark prints its figures as JSON in
its last line, and `table.py` reads them there.
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
    """Seconds by the clock and of processor (children's too), and peak memory in MB."""

    wall: float
    cpu: float
    peak_mb: float


def command(arguments: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command with the tree importable; ends with what it said where it fails."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    given = {**os.environ, "PYTHONPATH": path, **environment}
    done = subprocess.run(arguments, env=given, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
    return done


def whole(arguments: Sequence[str], **environment: str) -> Cost:
    """The cost of a whole process, its start included; no memory."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command(arguments, **environment)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(wall, sum(after[:2]) - sum(before[:2]), 0.0)


def child(script: str, *arguments: str, **environment: str) -> Cost:
    """The cost that a script's own process prints by `spent`, its start not included."""
    done = command([sys.executable, script, "--child", *arguments], **environment)
    return Cost(*json.loads(done.stdout.strip().splitlines()[-1]))


def spent(work: Callable[[], object]) -> None:
    """Do the work, and print its cost; memory is the whole process's."""
    started, cpu = time.perf_counter(), time.process_time()
    work()
    cost = time.perf_counter() - started, time.process_time() - cpu
    print(json.dumps([*cost, peak_mb()]))


def peak_mb() -> float:
    """The most memory that this process held; ru_maxrss has that of the process it came from."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def rounds(
    ways: Mapping[str, Callable[[], Cost]], number: int, warm: bool = True
) -> dict[str, list[Cost]]:
    """Costs by way; `warm` adds a first round that does not count."""
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    for turn in range(number + warm):
        for name, way in ways.items():
            cost = way()
            print(f"{name}: {cost.wall:.2f} s, {cost.cpu:.2f} s of processor", flush=True)
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
    """Median and range of one value a round beside its goal, the most or the least allowed.

    What is shown for comparison alone has None for a goal.
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
    """How many times as much one way costs as the other, round by round."""
    pairs = list(zip(ours, theirs, strict=True))
    clock = [a.wall / b.wall for a, b in pairs]
    return figure(what, [a.cpu / b.cpu for a, b in pairs], goal, clock=clock)


def report(figures: Sequence[dict[str, Any]], **more: Any) -> None:
    """The last line of a benchmark."""
    print(json.dumps({**more, "figures": list(figures)}, ensure_ascii=False))
