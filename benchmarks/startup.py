"""How fast the command line responds: `convrec --help`, and `convrec plan demo`.

    python benchmarks/startup.py [--rounds 7] [--home FOLDER]

`--help` is compared with a process that imports typer, duckdb, pydantic and rich, which any such
tool needs. The plan is made twice: in a warehouse in which the demo has been run (--home; without
it the demo is run first, which takes minutes) and in a new one. Also checks that neither command
imports torch, transformers or trl. The last line is JSON. Goals: help at most twice the imports; a
plan in two seconds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from harness import Cost, command, figure, ratio, report, rounds, whole

IMPORTS = [sys.executable, "-c", "import typer, duckdb, pydantic, rich"]
HEAVY = ("torch", "transformers", "trl")
IMPORTED = f"""
import sys
from flows.cli import main
sys.argv = ["convrec", *sys.argv[1:]]
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
print("heavy:", *[name for name in {HEAVY} if name in sys.modules])
"""


def convrec(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "flows.cli", *arguments]


def heavy(*arguments: str, home: str) -> list[str]:
    """Which of the heavy packages a command imports."""
    done = command([sys.executable, "-c", IMPORTED, *arguments], CONVREC_HOME=home)
    return done.stdout.strip().splitlines()[-1].split()[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--home", help="A warehouse in which the demo has been run.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home, empty = options.home or f"{temporary}/home", f"{temporary}/empty"
        if not Path(home).exists():
            command(convrec("run", "demo"), CONVREC_HOME=home, PREFECT_HOME=f"{temporary}/prefect")

        def run(*arguments: str, home: str) -> Cost:
            return whole(convrec(*arguments), CONVREC_HOME=home)

        costs = rounds(
            {
                "imports": lambda: whole(IMPORTS),
                "help": lambda: run("--help", home=home),
                "plan": lambda: run("plan", "demo", home=home),
                "plan, empty": lambda: run("plan", "demo", home=empty),
            },
            options.rounds,
        )
        imported = {name: heavy(*name.split(), home=home) for name in ("--help", "plan demo")}
    figures = [ratio("`convrec --help` vs. its imports", costs["help"], costs["imports"], 2)]
    for name, where in (("plan", "after a run"), ("plan, empty", "in an empty warehouse")):
        figures.append(
            figure(
                f"`convrec plan demo` {where}",
                [cost.cpu for cost in costs[name]],
                2,
                "s",
                clock=[cost.wall for cost in costs[name]],
            )
        )
    counts = [float(sum(map(len, imported.values())))]
    figures.append(figure("torch, transformers, trl imported by them", counts, 0, "packages"))
    report(figures, costs=costs, imported=imported)


if __name__ == "__main__":
    main()
