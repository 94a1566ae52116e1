"""An unchanged re-run of a profile beside a Prefect flow of eight cached tasks that do nothing.

    python benchmarks/rerun.py [--profile demo] [--rounds 5] [--home FOLDER]

Both are whole processes of the same form: one Python that starts Prefect's server for itself, runs
a flow whose tasks are all found in the cache, and ends. They take turns, so that what else the
machine does meets both. Without --home the profile is run once first. The last line is JSON, with
wall and processor seconds of every round. Goal: a ratio of at most 1.5.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TASKS = 8


def baseline() -> None:
    """The flow that does nothing."""
    from flows.cli import environment

    environment()
    from prefect import flow, task

    @task(cache_key_fn=lambda _, given: f"nothing-{given['number']}", persist_result=True)
    def nothing(number: int) -> int:
        return number

    @flow
    def eight() -> list[int]:
        return [nothing(number) for number in range(TASKS)]

    eight()


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Wall and processor seconds of a command and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - started
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, sum(after[:2]) - sum(before[:2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="demo")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--home", help="A warehouse in which the profile has been run.")
    parser.add_argument("--baseline", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.baseline:
        baseline()
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        root = str(Path(__file__).resolve().parents[1])
        path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        home = options.home or str(folder / "home")
        ours = {"CONVREC_HOME": home, "PREFECT_HOME": str(folder / "ours"), "PYTHONPATH": path}
        theirs = {"PREFECT_HOME": str(folder / "theirs"), "PYTHONPATH": path}
        pairs = {
            "re-run": ([sys.executable, "-m", "flows.cli", "run", options.profile], ours),
            "nothing": ([sys.executable, __file__, "--baseline"], theirs),
        }
        rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in pairs}
        for number in range(options.rounds + 1):
            for name, (command, environment) in pairs.items():
                took = timed(command, {**os.environ, **environment})
                if number:  # the first run of both makes what the others find
                    rounds[name].append(took)
                    print(f"{name}: {took[0]:.1f} s, {took[1]:.1f} s of processor", flush=True)
    ratios = [a[0] / b[0] for a, b in zip(rounds["re-run"], rounds["nothing"], strict=True)]
    figures = {
        **{name: [[round(x, 2) for x in took] for took in made] for name, made in rounds.items()},
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(min(ratios), 2), round(max(ratios), 2)],
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
