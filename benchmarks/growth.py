"""How the data build grows: a number of contexts, 4 times as many, and 16 times as many.

    python benchmarks/growth.py [--contexts 1000] [--catalog FILE] [--plot FILE.svg]

Each size is a full build from stored answers as in full_build.py, in a fresh process and a fresh
warehouse. If the cost per context does not rise from one size to the next, growth is linear or
better. With --plot, time and peak memory are drawn as multiples of those of the smallest size. The
last line is JSON.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

from full_build import fill, measured, take_answers
from harness import figure, report
from remap_scale import generate

TIMES = (1, 4, 16)
PARTS = {"time": ("processor seconds", "s"), "peak memory": ("peak_mb", "MB")}


def one_size(contexts: int, catalog: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        generate(folder, contexts, catalog)
        fill(folder, folder / "filled", "catalog.csv")
        take_answers(folder / "filled", folder / "home")
        row = {"contexts": contexts, **measured(folder / "home", folder, "catalog.csv")}
    print(row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--contexts", type=int, default=1000)
    parser.add_argument("--catalog", default="")
    parser.add_argument("--plot", type=Path, help="SVG file to draw the growth to.")
    options = parser.parse_args()
    from flows.cli import environment

    environment()
    with tempfile.TemporaryDirectory() as prefect:
        os.environ["PREFECT_HOME"] = prefect
        rows = [one_size(options.contexts * times, options.catalog) for times in TIMES]
    figures = []
    for name, (key, unit) in PARTS.items():
        for (few, before), (many, after) in zip(
            zip(TIMES, rows, strict=True), list(zip(TIMES, rows, strict=True))[1:], strict=False
        ):
            growth = after[key] / before[key] / (many / few)
            what = f"data build, {name} per context, ×{many} vs. ×{few}"
            figures.append(figure(f"{what} ({after[key]:,} {unit})", [growth], 1))
    if options.plot is not None:
        from convrec.pipeline.experiments.algorithms.tables import lines_svg

        lines = {
            name: [(times, row[key] / rows[0][key]) for times, row in zip(TIMES, rows, strict=True)]
            for name, (key, _) in PARTS.items()
        }
        across = f"times {options.contexts:,} contexts (multiples of the smallest)"
        drawn = lines_svg({**lines, "linear": [(t, float(t)) for t in TIMES]}, across)
        options.plot.write_text(drawn + "\n", encoding="utf-8")
    report(figures, sizes=rows)


if __name__ == "__main__":
    main()
