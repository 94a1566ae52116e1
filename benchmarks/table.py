"""Runs all benchmarks and writes their results as a page.

    python benchmarks/table.py [--quick] [--only NAME ...] [--home FOLDER] [--keep FOLDER]
        [--out FILE]

Every figure on the page is read from the last line of the command shown above it; nothing is typed
by hand. A benchmark that fails is shown as failed, with its last message, and the others continue.
--home is a warehouse in which the demo has been run; without it the demo is run first. --keep is
where full_build stores its answers, which take minutes to create. --quick uses small sizes, which
show that everything works and say little about speed. `make bench` runs this.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from harness import ROOT, command
from table_parsers import READINGS

from convrec.utils.markdown import escape

RUNS: dict[str, tuple[str, str]] = {
    "startup": ("--rounds 7 --home HOME", "--rounds 1 --home HOME"),
    "rerun": ("--rounds 5 --home HOME", "--rounds 1 --home HOME"),
    "ingest": ("", "--samples 4000 --rounds 1"),
    "store": ("", "--rows 100000 --rounds 1"),
    "title_linking": ("--undated", "--rounds 1"),
    "growth": (
        "--plot docs/images/growth.svg",
        "--contexts 100 --plot docs/images/growth.svg",
    ),
    "full_build": ("", "--contexts 500"),
    "sft_speed": ("--rows 400", "--rows 80 --rounds 1"),
    "rank_grpo_step": ("", "--rounds 3"),
    "sampling": ("", "--tokens 20 --rounds 1"),
    "scoring": ("--lists 200000", "--lists 2000 --plain 200"),
    "llm_throughput": ("", "--requests 200 --concurrency 8 --rounds 1 --memory 200 800"),
}
"""Arguments by benchmark: full size, and --quick."""


def machine() -> str:
    """Processor, cores, memory and load."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} × {models[0] if models else platform.machine()}, {memory:.0f} GiB, "
        f"Python {platform.python_version()}; load {os.getloadavg()[0]:.1f} at the start"
    )


def commit() -> str:
    said = command(["git", "-C", str(ROOT), "describe", "--always", "--dirty"]).stdout
    return said.strip()


def run(
    name: str, arguments: str, folders: dict[str, str]
) -> tuple[list[dict[str, Any]], str, float]:
    """(figures, error message, seconds) of one benchmark."""
    words = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *arguments.split()]
    words = [folders.get(word, word) for word in words]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    started = time.perf_counter()
    done = subprocess.run(
        words,
        env={**os.environ, "PYTHONPATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        return [], f"exit status {done.returncode}: {said[:200]}", seconds
    try:
        read = READINGS.get(name, lambda data: data["figures"])
        return read(json.loads(lines[-1])), "", seconds
    except (ValueError, KeyError, TypeError) as error:
        return [], f"its last line contains no figures ({error!r:.150})", seconds


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.3g}"


def row(made: dict[str, Any]) -> str:
    unit = "" if made["unit"] == "×" else f" {made['unit']}"
    spread = "" if made["low"] == made["high"] else f"{number(made['low'])}–{number(made['high'])}"
    clock = number(made["clock"]) + unit if "clock" in made else ""
    reached = {True: "yes", False: "**no**", None: ""}[made["reached"]]
    middle = number(made["median"]) + unit
    return f"| {made['what']} | {middle} | {spread} | {clock} | {made['goal']} | {reached} |"


def section(
    name: str, arguments: str, figures: list[dict[str, Any]], wrong: str, took: float
) -> list[str]:
    lines = [f"## {name}", "", f"`python benchmarks/{name}.py {arguments}`".replace(" `", "`")]
    lines[-1] += f", {took:.0f} s."
    if wrong:
        return [*lines, "", f"**failed**: {escape(wrong)}", ""]
    head = "| what | median | range | wall clock | goal | reached |"
    picture = ["", "![Time and peak memory by size](images/growth.svg)"] if name == "growth" else []
    return [*lines, "", head, "|---|---|---|---|---|---|", *map(row, figures), *picture, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="Small sizes, to check that all work.")
    parser.add_argument("--only", nargs="+", choices=list(RUNS), default=list(RUNS))
    parser.add_argument("--home", help="A warehouse in which the demo has been run.")
    parser.add_argument("--keep", default="", help="Working folder of full_build, which it reuses.")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks.md")
    options = parser.parse_args()
    left = [name for name in RUNS if name not in options.only]
    page = [
        "# Benchmarks",
        "",
        f"Written by `make bench` on {time.strftime('%Y-%m-%d', time.gmtime())}, commit "
        f"{commit()}{', with --quick: small sizes, for testing' if options.quick else ''}.",
        f"Machine: {machine()}.",
        *(["Not run: " + ", ".join(left) + "."] if left else []),
        "",
        "Median and range are CPU time, and the two commands of a ratio alternate; wall-clock "
        "figures are in their own column. Rows without a wall-clock figure are wall-clock time.",
        "",
    ]
    with tempfile.TemporaryDirectory() as temporary:
        home = options.home or f"{temporary}/home"
        if not options.home and {"startup", "rerun"} & set(options.only):
            demo = [sys.executable, "-m", "flows.cli", "run", "demo"]
            command(demo, CONVREC_HOME=home, PREFECT_HOME=f"{temporary}/prefect")
        for name in options.only:
            arguments = RUNS[name][options.quick]
            if options.keep and name == "full_build":
                arguments = f"{arguments} --keep KEEP".strip()
            figures, wrong, took = run(name, arguments, {"HOME": home, "KEEP": options.keep})
            print(f"{name}: {wrong or 'done'} ({took:.0f} s)", flush=True)
            page += section(name, arguments, figures, wrong, took)
            options.out.write_text("\n".join(page).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
