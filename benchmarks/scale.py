"""Every stage over many conversations: time and peak memory by stage and by size.

    python benchmarks/scale.py [--contexts 62500] [--times 1 4 16] [--stages ingest ... evaluate]
        [--keep FOLDER] [--plot FILE.svg]

Conversations, catalog and the answers of teacher and judge are those of full_build.py, with a fifth
of the conversations in the test split. Each stage runs in a fresh process, as `convrec run --until
STAGE` does, with the earlier ones in the warehouse; so its seconds include the start of the process
and of the flow. `evaluate` scores the lists of all systems but the models of a run, and one list
for each test sample under the name of the SFT checkpoint. `again` is a run of the data stages that
finds everything cached. `same_ids` says whether the smallest size has the same ids in one
partition. Prints a table; --plot draws memory by size; the last line is JSON. Goals at 1,000,000:
45 minutes, 4 GB, and 30 s for the unchanged run.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from full_build import fill, settings, take_answers
from harness import peak_mb
from remap_scale import generate

from convrec.artifacts import ArtifactSpec, StepResult, Store
from convrec.config import load
from convrec.pipeline.graph import NODES
from convrec.stages.base import StepContext

STAGES = ("ingest", "recommend", "remap", "reflect", "adjust", "evaluate")
SETTINGS = {
    "remap.keep": 22,
    "reflect.top": 21,
    "reflect.passes": 1,
    "adjust.max_iterations": 20,
    "evaluate.bootstrap": 200,
}
TEST_SHARE = 5
"""One of so many conversations is in the test split."""


def overrides(folder: Path, partitions: int = 0) -> dict[str, Any]:
    more = {**SETTINGS, "ingest.path": str(folder / "posts"), "runner.partitions": partitions}
    return settings(folder, "catalog.csv", more)


def prepare(folder: Path, contexts: int) -> None:
    """The world and a warehouse of answers, in `folder`."""
    if (folder / "home").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    generate(folder, contexts, "", contexts // TEST_SHARE)
    (folder / "posts").mkdir(exist_ok=True)
    for split in ("train", "test"):
        (folder / f"{split}.jsonl").rename(folder / "posts" / f"{split}.jsonl")
    fill(folder, folder / "filled", "catalog.csv", overrides(folder))
    take_answers(folder / "filled", folder / "home")


def run_stage(folder: Path, stage: str, partitions: int) -> dict[str, Any]:
    """One stage in this process: its seconds, peak memory, and the ids of its artifacts."""
    from flows.pipeline import pipeline

    started = time.perf_counter()
    if stage == "evaluate":
        ids = [evaluate(folder)]
    else:
        given = overrides(folder, partitions)
        summary = pipeline(profile="reddit-v2", overrides=given, until=stage)
        assert summary["llm"]["sent"] == 0
        ids = [entry["artifact_id"] for entry in summary["stages"] if entry["stage"] == stage]
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "processor_seconds": round(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]), 1),
        "peak_mb": round(peak_mb()),
        "ids": ids,
    }


def evaluate(folder: Path) -> str:
    """Score all systems; the lists of `sft` are the demonstrations of the test split."""
    import polars as pl

    config, store = load("reddit-v2", overrides(folder)), Store(folder / "home")
    refs = {record.ref.kind: record.ref for record in store.headers()}
    samples = store.query(
        refs["conversations"].artifact_id, "sample_id, context_id", "AND split = 'test'"
    )
    lists = store.query(
        refs["demonstrations"].artifact_id, "context_id, completion", "AND split = 'test'"
    )
    rows = samples.join(lists, on="context_id", maintain_order="left").with_columns(
        system=pl.lit("sft"), draw=pl.lit(0, dtype=pl.Int32)
    )
    spec = ArtifactSpec("generations", "evaluate", 0)
    refs["generations_sft"] = store.put(spec, StepResult(rows))
    node = NODES["metrics"]
    parents = {role: refs[name] for role, name in node.reads.items() if name in refs}
    ctx = StepContext(config, store, parents)
    return store.put(node.step.spec(ctx), node.step.build(ctx)).artifact_id


def measure(folder: Path, stage: str, home: Path, partitions: int = 0) -> dict[str, Any]:
    """The figures of one stage in a fresh process."""
    environment = {**os.environ, "CONVREC_HOME": str(home), "OPENAI_API_KEY": "unused"}
    command = [sys.executable, __file__, "--child", str(folder), stage, str(partitions)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    row: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    print(stage, row, flush=True)
    return row


def one_size(folder: Path, contexts: int, stages: list[str]) -> dict[str, Any]:
    prepare(folder, contexts)
    found = {stage: measure(folder, stage, folder / "home") for stage in stages}
    last = "adjust" if "adjust" in stages else stages[-1]
    found["again"] = measure(folder, last, folder / "home")
    return {"contexts": contexts, "stages": found}


def same_ids(folder: Path, row: dict[str, Any]) -> bool:
    """Whether a run with one partition has the same ids."""
    take_answers(folder / "filled", folder / "whole")
    stages = [stage for stage in row["stages"] if stage not in ("evaluate", "again")]
    found = {stage: measure(folder, stage, folder / "whole", 1)["ids"] for stage in stages}
    return found == {stage: row["stages"][stage]["ids"] for stage in stages}


def table(rows: list[dict[str, Any]]) -> str:
    """Seconds and peak MB by stage, one column a size."""
    heads = [f"{row['contexts']:,}" for row in rows]
    lines = [f"| stage | {' | '.join(heads)} |", f"|---|{'---|' * len(rows)}"]
    for stage in rows[0]["stages"]:
        cells = [row["stages"][stage] for row in rows]
        shown = [f"{cell['seconds']:,.0f} s, {cell['peak_mb']:,} MB" for cell in cells]
        lines.append(f"| {stage} | {' | '.join(shown)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--contexts", type=int, default=62_500)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--keep", type=Path, help="Work in this folder; reuse its contents.")
    parser.add_argument("--plot", type=Path, help="SVG file to draw peak memory to.")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    from flows.cli import environment

    environment()
    if options.child:
        folder, stage, partitions = options.child
        print(json.dumps(run_stage(Path(folder), stage, int(partitions))))
        return
    with tempfile.TemporaryDirectory() as temporary:
        keep = options.keep or Path(temporary)
        os.environ["PREFECT_HOME"] = str(keep / "prefect")
        rows = []
        for times in options.times:
            contexts = options.contexts * times
            rows.append(one_size(keep / str(contexts), contexts, options.stages))
        same = same_ids(keep / str(rows[0]["contexts"]), rows[0])
    print(table(rows))
    if options.plot is not None:
        from convrec.pipeline.experiments.algorithms.tables import lines_svg

        lines = {
            stage: [(row["contexts"], row["stages"][stage]["peak_mb"]) for row in rows]
            for stage in options.stages
        }
        drawn = lines_svg(lines, "conversations (peak MB)")
        options.plot.write_text(drawn + "\n", encoding="utf-8")
    print(json.dumps({"sizes": rows, "same_ids": same}))


if __name__ == "__main__":
    main()
