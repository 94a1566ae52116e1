"""Ingest of as many samples as Reddit-v2 has, compared with a polars scan and a DuckDB insert.

    python benchmarks/ingest.py [--samples 95753] [--rounds 3] [--catalog FILE]

Samples and catalog are those of remap_scale.py, in the authors' schema. Ingest builds its three
artifacts (catalog, conversations, quarantine) in a new warehouse; the comparison reads every column
of the same JSON lines with polars and inserts them into a new DuckDB file. Each is a fresh process;
imports are not counted. The last line is JSON. Goals: at most twice the CPU time, and a peak of at
most twice the file plus 500 MB.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from harness import Cost, child, figure, ratio, report, rounds, spent


def ours(folder: Path) -> None:
    import polars  # noqa: F401

    from convrec.artifacts import Store
    from convrec.config import load
    from convrec.pipeline.graph import NODES
    from convrec.stages.base import StepContext

    config = load("reddit-v2", {"ingest.path": str(folder / "train.jsonl")})

    def work() -> None:
        store = Store(folder / "home")
        for name in ("catalog", "conversations", "quarantine"):
            step, ctx = NODES[name].step, StepContext(config, store)
            store.put(step.spec(ctx), step.build(ctx))

    spent(work)


def bare(folder: Path) -> None:
    import duckdb
    import polars as pl

    def work() -> None:
        rows = pl.scan_ndjson(folder / "train.jsonl").collect()
        with duckdb.connect(folder / "home" / "rows.duckdb") as connection:
            connection.register("rows", rows.to_arrow())
            connection.execute("CREATE TABLE samples AS SELECT * FROM rows LIMIT 0")
            connection.execute("INSERT INTO samples SELECT * FROM rows")

    (folder / "home").mkdir()
    spent(work)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=95_753)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--catalog", default="")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        {"ingest": ours, "bare": bare}[options.child[0]](Path(options.child[1]))
        return
    from remap_scale import generate

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        generate(folder, options.samples, options.catalog)

        def way(name: str) -> Cost:
            shutil.rmtree(folder / "home", ignore_errors=True)
            return child(__file__, name, temporary)

        costs = rounds(
            {name: (lambda name=name: way(name)) for name in ("ingest", "bare")}, options.rounds
        )
        size = (folder / "train.jsonl").stat().st_size / 1e6
    what = f"ingest of {options.samples:,} samples"
    report(
        [
            ratio(f"{what} vs. a scan and an insert", costs["ingest"], costs["bare"], 2),
            figure(
                f"peak memory of {what} ({size:.0f} MB)",
                [cost.peak_mb for cost in costs["ingest"]],
                round(2 * size + 500),
                "MB",
            ),
        ],
        costs=costs,
    )


if __name__ == "__main__":
    main()
