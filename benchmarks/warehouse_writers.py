"""What a write costs, and how many processes write at once: on a file, or on a lake.

    python benchmarks/warehouse_writers.py [--writers 1 2 4 8] [--each 20] [--rows 40]

Uses its own warehouse: a file in a temporary folder or, if CONVREC_WAREHOUSE is set, the lake that
it names, which should be empty. Each writer puts `each` artifacts of `rows` rows and finds each of
them; all must exist afterwards. The last line is JSON: seconds of one put and one find with one
writer, and puts per second by number of writers.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
import uuid
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import polars as pl

from convrec.artifacts import ArtifactSpec, StepResult, Store
from convrec.artifacts.ducklake.lake import Lake


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--writers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--each", type=int, default=20)
    parser.add_argument("--rows", type=int, default=40)
    options = parser.parse_args()
    figures: dict[str, Any] = {"rows": options.rows, "cores": os.cpu_count()}
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        store = Store(Path(folder))
        figures["warehouse"] = "lake" if isinstance(store.backend, Lake) else "file"
        figures["open_seconds"] = round(time.perf_counter() - started, 3)
        put, find = work(store, options.each, options.rows)
        figures |= {"put_ms": round(1000 * put, 1), "find_ms": round(1000 * find, 1)}
        figures["puts_a_second"] = {
            writers: round(at_once(Path(folder), writers, options.each, options.rows), 1)
            for writers in options.writers
        }
        stored = len(store.headers())
        assert stored == options.each * (1 + sum(options.writers)), stored
    for name, value in figures.items():
        print(f"{name}: {value}")
    print(json.dumps(figures))


def work(store: Store, each: int, rows: int) -> tuple[float, float]:
    """Seconds of one put and of one find."""
    frame = pl.DataFrame(
        {"source": ["f"] * rows, "line": range(rows), "reason": ["r"] * rows, "raw": ["x"] * rows}
    )
    mine = uuid.uuid4().hex
    specs = [ArtifactSpec("quarantine", "ingest", 1, {"n": n, "by": mine}) for n in range(each)]
    started = time.perf_counter()
    for spec in specs:
        store.put(spec, StepResult(frame))
    put = time.perf_counter()
    found = [store.find(spec.artifact_id) for spec in specs]
    assert all(ref is not None and ref.rows == rows for ref in found)
    return (put - started) / each, (time.perf_counter() - put) / each


def at_once(folder: Path, writers: int, each: int, rows: int) -> float:
    """Puts per second, counted once all processes have opened the warehouse."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(writers + 1)
    processes = [
        context.Process(target=_writer, args=(folder, each, rows, barrier)) for _ in range(writers)
    ]
    for process in processes:
        process.start()
    barrier.wait()
    started = time.perf_counter()
    for process in processes:
        process.join()
    assert all(process.exitcode == 0 for process in processes)
    return writers * each / (time.perf_counter() - started)


def _writer(folder: Path, each: int, rows: int, barrier: Barrier) -> None:
    store = Store(folder)
    barrier.wait()
    work(store, each, rows)


if __name__ == "__main__":
    main()
