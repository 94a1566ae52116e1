"""Partitioned stages: time by number of partitions on Dask, and memory at any size.

    python benchmarks/partitions.py [--contexts 65536] [--partitions 1 2 4 8] [--workers 2]
    python benchmarks/partitions.py --contexts 1000000 --partitions 0 --runner process

Conversations and the teacher's lists are generated as in remap_scale.py, over a catalog of
`--items`. Ingest, remap and adjust each run in a fresh process, whose peak memory (and the highest
of its workers) is printed; 0 partitions is the default, one per 32,768 contexts. remap is built
once per number of partitions; ids and rows must be equal. `--plot FILE` draws its time by number of
partitions. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remap_scale import generate, titles, words

from convrec.artifacts import ArtifactRef, StepResult, Store
from convrec.artifacts.identity import ArtifactSpec
from convrec.artifacts.parquet_rows import ParquetRows
from convrec.config import load, parse_overrides
from convrec.pipeline.graph import NODES
from convrec.stages.base import StepContext
from convrec.stages.partitions import write_parquet

if TYPE_CHECKING:
    import polars as pl

    from convrec.stages.partitions import ContextPartition

BEFORE = ("catalog", "conversations", "teacher_lists", "similarity_basis")
AFTER = ("adjustment", "demonstrations")
MEASURED = ("conversations", "candidates", *AFTER)


def world(folder: Path, contexts: int, items: int) -> None:
    """The files of remap_scale.py, over a catalog of `items` items."""
    import csv
    import random

    rng = random.Random(3)
    films = titles(rng, words(rng, 5000), items)
    with (folder / "films.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("title", "year"), *films])
    generate(folder, contexts, str(folder / "films.csv"))


def teacher_lists(ctx: StepContext, folder: Path) -> StepResult:
    """The generated lists as the `teacher_lists` artifact, streamed to bound memory."""
    import polars as pl
    from pyarrow.csv import open_csv

    from convrec.stages.contexts import context_spans

    owners = context_spans(ctx, "conversations")["context_id"]

    def frames() -> Iterator[pl.DataFrame]:
        for batch in open_csv(folder / "lists.csv"):
            rows = pl.DataFrame(pl.from_arrow(batch)).cast({"rank": pl.Int32, "year": pl.Int32})
            line = pl.format("{}. {} ({})", "rank", "title", "year")
            owner = owners.gather(rows["context"]).alias("context_id")
            yield rows.select(owner, "rank", line.alias("line"), "title", "year")

    write_parquet(frames(), folder / "lists.parquet")
    return StepResult(ParquetRows((folder / "lists.parquet",)))


def make(name: str, folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Build one artifact in this process; its id, rows, seconds and peak memory."""
    config = load("reddit-v2", {"ingest.path": str(folder / "train.jsonl"), **settings})
    store, node = Store(folder / "home"), NODES[name]
    refs: dict[str, ArtifactRef] = {h.ref.kind: h.ref for h in store.headers()}
    parents = {role: refs[role] for role in node.reads if role in refs}
    ctx = StepContext(config, store, parents, workspace=folder / "work" / name)
    started = time.perf_counter()
    if name == "teacher_lists":
        spec, built = ArtifactSpec("teacher_lists", "recommend", 0), teacher_lists(ctx, folder)
        spread = 0.0
    else:
        spec, (built, spread) = node.step.spec(ctx), build(ctx, name)
    made = time.perf_counter() - started
    ref = store.put(spec, built)
    seconds = time.perf_counter() - started
    peaks = [
        round(resource.getrusage(who).ru_maxrss / 1024)
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    built.close()
    shutil.rmtree(folder / "work", ignore_errors=True)
    return {
        "artifact": ref.artifact_id,
        "rows": ref.rows,
        "partitions_seconds": round(spread, 1),
        "build_seconds": round(made, 1),
        "seconds": round(seconds, 1),
        "peak_mb": peaks[0],
        "worker_peak_mb": peaks[1],
        "digest": digest(store, ref) if name == "candidates" else "",
    }


def build(ctx: StepContext, name: str) -> tuple[StepResult, float]:
    """The rows, and the seconds of the partitions, including the start of a cluster."""
    from prefect import flow

    from tasks.dask import on_dask

    made: list[StepResult] = []
    seconds = [0.0]

    def timed(given: StepContext, pieces: Sequence[ContextPartition]) -> None:
        started = time.perf_counter()
        (on_dask if ctx.config.runner.kind == "dask" else ctx.spread)(given, pieces)
        seconds.append(time.perf_counter() - started)

    def step() -> None:
        made.append(NODES[name].step.build(replace(ctx, spread=timed)))

    if ctx.config.runner.kind == "dask":
        flow(name="partitions")(step)()
    else:
        step()
    return made[0], sum(seconds)


def digest(store: Store, ref: ArtifactRef) -> str:
    """One number for all rows and their order."""
    everything = "sum(hash(COLUMNS(* EXCLUDE (artifact_id)))::HUGEINT)"
    rows = store.query(ref.artifact_id, f"{everything}", "")
    return str(hash(rows.row(0)) % 10**12)


def child(name: str, folder: Path, settings: list[str]) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", name, str(folder), "--set", *settings]
    environment = {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PYTHONHASHSEED": "0",
    }
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    row: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    print(name, row, flush=True)
    return row


def plot(rows: list[dict[str, Any]], path: Path, note: str) -> None:
    """Seconds of remap by number of partitions, as an SVG."""
    from convrec.pipeline.experiments.algorithms.tables import lines_svg

    points = [(float(row["partitions"]), float(row["partitions_seconds"])) for row in rows]
    lines = {note: points}
    path.write_text(lines_svg(lines, "partitions (seconds)"), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contexts", type=int, default=65_536)
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("--partitions", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--runner", choices=["process", "dask"], default="dask")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--keep", type=Path, help="Work in this folder; reuse its contents.")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, folder = options.child
        print(json.dumps(make(name, Path(folder), parse_overrides(options.set))))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "lists.csv").exists():
            world(folder, options.contexts, options.items)
        steps = {name: child(name, folder, options.set) for name in BEFORE}
        runner = [f"runner.kind={options.runner}", f"runner.workers={options.workers}"]
        by_count = []
        for count in options.partitions:
            given = [*runner, f"runner.partitions={count}", *options.set]
            by_count.append({"partitions": count, **child("candidates", folder, given)})
        steps["candidates"] = by_count[-1]
        steps |= {name: child(name, folder, options.set) for name in AFTER}
    same = len({(row["artifact"], row["rows"], row["digest"]) for row in by_count}) == 1
    if not same:
        sys.exit("the number of partitions changed the rows")
    if options.plot:
        plot(by_count, options.plot, f"{options.contexts:,} contexts, {options.workers} workers")
    figures = {name: steps[name] for name in MEASURED}
    print(
        json.dumps(
            {"contexts": options.contexts, "remap": by_count, "steps": figures, "same": same}
        )
    )


if __name__ == "__main__":
    main()
