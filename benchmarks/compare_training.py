"""Compare training algorithms on the demo: equal samples, one SFT checkpoint, several seeds.

    python benchmarks/compare_training.py [ALGORITHM ...] [--profile demo] [--seeds 7 8 9]
        [--rates ALGORITHM=RATE[,RATE...] ...] [--home FOLDER] [--plot FILE.svg]
        [--set section.key=value ...]

Builds the data and the SFT checkpoint if --home has none, then runs the flow `compare-training`:
each algorithm's learning rate is chosen by NDCG@20 on validation with the first seed, then all
seeds train with it and are evaluated on the test split. An ALGORITHM may have a variant, such as
rank_grpo:published or rank_grpo:early=-1,exact=0 (docs/guides/training.md). Prints the table with
paired intervals and, with --plot, draws NDCG@20 on validation by step. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from convrec.config import parse_overrides


def rates_of(texts: list[str]) -> dict[str, list[float]]:
    """Learning rates by algorithm, from texts like `grpo=2e-4,4e-4`."""
    found = {}
    for text in texts:
        name, _, values = text.rpartition("=")
        try:
            found[name] = [float(value) for value in values.split(",")]
        except ValueError:
            raise SystemExit(f"--rates {text!r}: write ALGORITHM=RATE[,RATE...]") from None
    return found


def show(home: Path, summary: dict[str, Any], plot: Path | None) -> dict[str, Any]:
    from rich.console import Console
    from rich.table import Table

    from convrec.artifacts import Store
    from convrec.pipeline.experiments.algorithms.tables import (
        column_headers,
        comparison_rows,
        convergence_svg,
        validation_curves,
    )

    store, chosen = Store(home), summary["learning_rates"]
    last = [entry for entry in summary["stages"] if entry["kind"] == "metrics"][-1]
    metrics = store.read(last["artifact_id"])
    table = Table(*column_headers(next(iter(chosen))), title="test split, protocol `standard`")
    for row in comparison_rows(metrics, chosen):
        table.add_row(*row)
    Console(width=170).print(table)
    lines = validation_curves(store, summary["trained"])
    if plot is not None:
        plot.write_text(convergence_svg(lines), encoding="utf-8")
        print(f"convergence plot: {plot}")
    return {
        "learning_rates": chosen,
        "metrics": summary["comparison"],
        "validation ndcg@20": lines,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("algorithms", nargs="*", help="Default: all. The first one is compared.")
    parser.add_argument("--profile", default="demo")
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8, 9])
    parser.add_argument("--rates", nargs="+", default=[], metavar="ALGORITHM=RATE,...")
    parser.add_argument("--home", type=Path, help="Use this warehouse and keep it.")
    parser.add_argument("--plot", type=Path, help="SVG file to draw the curves to.")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    options = parser.parse_args()
    from flows.cli import environment

    environment()
    with tempfile.TemporaryDirectory() as empty:
        home = (options.home or Path(empty)).resolve()
        os.environ["CONVREC_HOME"] = str(home)
        os.environ.setdefault("PREFECT_HOME", str(Path(empty) / "prefect"))
        from flows.compare_training import ALL_ALGORITHMS, compare_training
        from flows.pipeline import pipeline

        overrides = parse_overrides(options.set)
        pipeline(profile=options.profile, overrides=overrides, until="sft")
        summary = compare_training(
            profile=options.profile,
            overrides=overrides,
            algorithms=options.algorithms or ALL_ALGORITHMS,
            seeds=options.seeds,
            learning_rates=rates_of(options.rates),
        )
        print(json.dumps(show(home, summary, options.plot)))


if __name__ == "__main__":
    main()
