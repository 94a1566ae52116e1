"""Write and read an artifact of two million rows, compared with DuckDB's COPY to Parquet.

    python benchmarks/store.py [--rows 2000000] [--rounds 3]

The rows are candidates: 20 for each of 100,000 conversations. One way is `Store.put` and
`Store.read`, one transaction and one frame; the other is `COPY ... TO` a Parquet file, and a frame
read from it. Writing and reading are fresh processes; imports and the creation of the rows are not
counted. The last line is JSON. Goal: both together in at most 1.5 times the CPU time.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import Cost, child, ratio, report, rounds, spent

if TYPE_CHECKING:
    import polars as pl

TOP = 20


def candidates(count: int) -> pl.DataFrame:
    """Candidate rows that repeat values as those of a run do."""
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(7)
    contexts = [f"{number:016x}" for number in rng.integers(2**63, size=-(-count // TOP))]
    items = [f"item-{number}" for number in range(7_404)]
    scores = {
        name: rng.random(count) for name in ("score", "identity", "similarity", "conversation")
    }
    linked = rng.integers(len(items), size=count)
    methods = pl.Series(["exact", "alias", "fuzzy", None])
    return pl.DataFrame(
        {
            "context_id": np.repeat(contexts, TOP)[:count],
            "rank": np.tile(np.arange(1, TOP + 1, dtype=np.int32), -(-count // TOP))[:count],
            "item_id": pl.Series(items).gather(rng.integers(len(items), size=count)),
            **scores,
            "linked_from": pl.Series(items).gather(linked),
            "link_method": methods.gather(linked % 4),
            "link_score": np.where(linked % 4 == 2, 0.93, 1.0),
            "runner_up": pl.Series([*items[:100], None]).gather(np.minimum(linked, 100)),
            "runner_up_score": pl.Series([0.8, None]).gather((linked > 100).astype(int)),
        }
    )


def artifact() -> Any:
    from convrec.artifacts import ArtifactSpec

    return ArtifactSpec("candidates", "remap", 0)


def write(folder: Path, count: int) -> None:
    import pyarrow.dataset  # noqa: F401  # as DuckDB does to inspect a table

    from convrec.artifacts import StepResult, Store

    rows = candidates(count)
    spent(lambda: Store(folder).put(artifact(), StepResult(rows)))


def read(folder: Path, count: int) -> None:
    import polars  # noqa: F401

    from convrec.artifacts import Store

    spent(lambda: Store(folder).read(artifact().artifact_id))


def copy_to(folder: Path, count: int) -> None:
    import duckdb
    import pyarrow as pa
    import pyarrow.dataset

    from convrec.artifacts.parquet_rows import ROW_GROUP_SIZE

    table = candidates(count).to_arrow()
    rows = pa.Table.from_batches(table.to_batches(max_chunksize=ROW_GROUP_SIZE))

    def work() -> None:
        with duckdb.connect() as connection:
            connection.register("rows", rows)
            connection.execute(f"COPY rows TO '{folder / 'rows.parquet'}'")

    spent(work)


def copy_from(folder: Path, count: int) -> None:
    import duckdb
    import polars  # noqa: F401

    def work() -> None:
        with duckdb.connect() as connection:
            connection.execute(f"SELECT * FROM '{folder / 'rows.parquet'}'").pl()

    spent(work)


WAYS = {"put": write, "read": read, "copy to": copy_to, "copy from": copy_from}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        WAYS[options.child[0]](Path(options.child[1]), options.rows)
        return
    with tempfile.TemporaryDirectory() as temporary:

        def way(name: str) -> Cost:
            if name == "put":
                shutil.rmtree(temporary)
                Path(temporary).mkdir()
            return child(__file__, name, temporary, "--rows", str(options.rows))

        costs = rounds({name: (lambda name=name: way(name)) for name in WAYS}, options.rounds)
    both = [
        [Cost(*map(sum, zip(a, b, strict=True))) for a, b in zip(costs[to], costs[of], strict=True)]
        for to, of in (("put", "read"), ("copy to", "copy from"))
    ]
    what = f"{options.rows:,} rows vs. DuckDB's COPY"
    report(
        [
            ratio(f"write and read an artifact of {what}", *both, 1.5),
            ratio(f"write only, {what}", costs["put"], costs["copy to"]),
            ratio(f"read only, {what}", costs["read"], costs["copy from"]),
        ],
        costs=costs,
    )


if __name__ == "__main__":
    main()
