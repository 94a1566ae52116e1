"""An unchanged re-run of a profile, compared with a Prefect flow of eight cached no-op tasks.

    python benchmarks/rerun.py [--profile demo] [--rounds 5] [--home FOLDER]

Both are whole processes of the same form: one Python process that starts its own Prefect server,
runs a flow whose tasks are all cached, and ends. They alternate, so that other load on the machine
affects both. Without --home the profile is run once first. The last line is JSON, with wall-clock
and CPU seconds of every round. Goal: a ratio of at most 1.5.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

from harness import rounds, whole

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
        ours = {
            "CONVREC_HOME": options.home or str(folder / "home"),
            "PREFECT_HOME": str(folder / "ours"),
        }
        run = [sys.executable, "-m", "flows.cli", "run", options.profile]
        nothing = [sys.executable, __file__, "--baseline"]
        ways = {
            "re-run": lambda: whole(run, **ours),
            "nothing": lambda: whole(nothing, PREFECT_HOME=str(folder / "theirs")),
        }
        costs = rounds(ways, options.rounds)  # the first run of each fills the cache
    ratios = [a.wall / b.wall for a, b in zip(costs["re-run"], costs["nothing"], strict=True)]
    figures = {
        **{name: [[round(x, 2) for x in one[:2]] for one in made] for name, made in costs.items()},
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(min(ratios), 2), round(max(ratios), 2)],
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
