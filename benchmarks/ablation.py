"""The ablation of Remap–Reflect–Adjust, on the demo and on INSPIRED with real GPT-3.5 answers.

    python benchmarks/ablation.py [demo] [inspired-replay] [--data FOLDER] [--home FOLDER]
        [--plot FOLDER] [--set section.key=value ...]

Runs the flow `ablate-sft-data` for each profile in its own warehouse (or the one in --home, whose
answers are reused). Prints every step with its gain, paired on the same samples, the settings
chosen on validation, and how much each of them matters on test; --plot draws that as PROFILE.svg.
The step `embedded` needs the extra `st` and its model, such as --set remap.model=FOLDER. INSPIRED
needs the folder `inspired` of --data (default: `shared/data` next to this checkout). It has no
stored judge, so its ablation has no reflect step. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from convrec.artifacts import Store
from convrec.config import ROOT, load, parse_overrides
from convrec.pipeline.experiments.ablation.ladder import missing_steps
from convrec.pipeline.experiments.ablation.sensitivity import sensitivity_rows, sensitivity_svg
from convrec.pipeline.experiments.ablation.tables import ladder_rows, missing_text


def overrides_of(profile: str, data: Path) -> dict[str, Any]:
    if profile != "inspired-replay":
        return {}
    folder = data / "inspired"
    if not folder.is_dir():
        raise SystemExit(f"{folder} does not exist; pass the folder that contains it with --data")
    answers = folder / "gpt-3.5-turbo.batch_output.jsonl"
    return {"ingest.path": str(folder), "recommend.replay": str(answers)}


def show(home: Path, stages: list[dict[str, Any]], plot: Path | None) -> dict[str, Any]:
    from rich.console import Console
    from rich.table import Table

    store, console = Store(home), Console(width=None if sys.stdout.isatty() else 110)
    ids = {entry["kind"]: entry["artifact_id"] for entry in stages}
    ablation, search = (store.read(ids[kind]) for kind in ("ablation", "search"))
    for split in ablation["split"].unique(maintain_order=True):
        n = ablation.filter(ablation["split"] == split)["n"][0]
        heads = ["step", "NDCG@20", "gain", "recall@20", "ndcg@5", "recall@5", "in catalog"]
        table = Table(*heads, title=f"{split}: {n:,} samples")
        for row in ladder_rows(ablation, split):
            table.add_row(*row)
        console.print(table)
    table = Table("setting", "profile", "tried", "worst on test", "best on test")
    for row in sensitivity_rows(search):
        table.add_row(*row)
    console.print(table)
    if plot is not None and (picture := sensitivity_svg(search)):
        plot.write_text(picture + "\n", encoding="utf-8")
        console.print(f"plot: {plot}", markup=False)
    figures = store.header(ids["search"]).figures
    for name, value in figures.items():
        console.print(f"search, {name}: {value}", markup=False, highlight=False)
    return {
        "ladder": ablation.filter(ablation["metric"] == "ndcg@20").drop("metric").to_dicts(),
        "search": figures,
        "tried": search.height,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("profiles", nargs="*", default=["demo", "inspired-replay"])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--home", type=Path, help="Use this warehouse and keep it.")
    parser.add_argument("--plot", type=Path, help="Folder for plots of the sensitivity.")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    options = parser.parse_args()
    from flows.cli import environment

    environment()
    found = {}
    with tempfile.TemporaryDirectory() as empty:
        home = (options.home or Path(empty)).resolve()
        os.environ["CONVREC_HOME"] = str(home)
        os.environ.setdefault("PREFECT_HOME", str(Path(empty) / "prefect"))
        from flows.ablate_sft_data import ablate_sft_data

        for profile in options.profiles or ["demo", "inspired-replay"]:
            overrides = {**overrides_of(profile, options.data), **parse_overrides(options.set)}
            summary = ablate_sft_data(profile=profile, overrides=overrides)
            print(f"\n{profile}")
            plot = options.plot and options.plot / f"{profile}.svg"
            found[profile] = show(home, summary["stages"], plot)
            print("\n".join(missing_text(missing_steps(load(profile, overrides)))))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
