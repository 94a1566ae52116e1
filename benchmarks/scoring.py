"""Scoring lists: `convrec score` compared with plain loops as in published evaluations.

    python benchmarks/scoring.py [--lists 1000000] [--plain 2000] [--catalog FILE]

Writes a file of --lists rows (20 catalog titles, seen titles and ground truths) and scores it as
`convrec score` does, including reading, matching and 1,000 bootstrap resamples. Loops written as
such code commonly is score --plain more rows: every metric and cut-off walks the list again and
compares titles by edit distance (the C++ of `editdistance`; `pip install editdistance`). Both must
agree on Recall and NDCG. Prints lists per second (wall clock), the factor (also in CPU time, for a
shared machine), and peak memory; the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from convrec.catalog.load import load_catalog
from convrec.config import ROOT
from convrec.metrics.scored_lists import CUTOFFS
from convrec.stages.evaluate.score_file import score_file

N = 20
LINE = re.compile(r"^(.*) \((\d{4})\)$")


def make(path: Path, items: list[tuple[str, int]], lists: int) -> None:
    """Lists of N distinct items; most contain one ground truth, some contain two more."""
    rng = random.Random(7)
    with path.open("w", encoding="utf-8") as out:
        for at in range(lists):
            shown = rng.sample(items, N)
            truths = {*rng.sample(items, 2), shown[rng.randrange(N)]}
            seen = [title for title, _ in rng.sample(items, 2)]
            row = {
                "context_id": at // 2,
                "completion": "\n".join(f"{title} ({year})" for title, year in shown),
                "seen_titles": seen,
                "groundtruth_with_release_year": [[title, str(year)] for title, year in truths],
            }
            out.write(json.dumps(row) + "\n")


def plain_score(path: Path, items: list[tuple[str, int]], lists: int) -> dict[str, float]:
    """Compute every metric at every cut-off separately, with titles compared by edit distance."""
    try:
        from editdistance import eval as distance
    except ImportError:
        raise SystemExit("the plain loops need `pip install editdistance`") from None
    catalog = set(items)
    sums: dict[str, float] = {}
    with path.open(encoding="utf-8") as file:
        for _, text in zip(range(lists), file, strict=False):
            row = json.loads(text)
            for k in CUTOFFS:
                for name, metric in (("recall", plain_recall), ("ndcg", plain_ndcg)):
                    value = metric(row, catalog, k, distance)
                    sums[f"{name}@{k}"] = sums.get(f"{name}@{k}", 0.0) + value
    return {name: total / lists for name, total in sums.items()}


def plain_hits(row: dict[str, Any], catalog: set[tuple[str, int]], k: int, distance: Any) -> list:
    hits, found = [], set()
    for line in row["completion"].split("\n")[:k]:
        match = LINE.match(line)
        hit = 0
        if match:
            title, year = match[1], int(match[2])
            seen = any(distance(title, other) == 0 for other in row["seen_titles"])
            if (title, year) in catalog and not seen:
                for position, (truth, truth_year) in enumerate(
                    row["groundtruth_with_release_year"]
                ):
                    near = abs(year - int(truth_year)) <= 2
                    if position not in found and distance(title, truth) == 0 and near:
                        found.add(position)
                        hit = 1
                        break
        hits.append(hit)
    return hits


def plain_recall(row: dict[str, Any], catalog: set[tuple[str, int]], k: int, d: Any) -> float:
    return sum(plain_hits(row, catalog, k, d)) / len(row["groundtruth_with_release_year"])


def plain_ndcg(row: dict[str, Any], catalog: set[tuple[str, int]], k: int, d: Any) -> float:
    hits = plain_hits(row, catalog, k, d)
    gained = sum(hit / math.log2(rank + 2) for rank, hit in enumerate(hits))
    best = min(len(row["groundtruth_with_release_year"]), k)
    return gained / sum(1 / math.log2(rank + 2) for rank in range(best))


def distinct(catalog: Path) -> list[tuple[str, int]]:
    """Titles with years, no two of which can be confused."""
    frame = load_catalog(catalog, {}, years=True)[0]
    frame = frame.filter(
        pl.col("year").is_not_null() & (pl.col("title").str.to_lowercase().is_unique())
    )
    return list(frame.select("title", "year").iter_rows())


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What `work` returns, and its wall-clock and CPU seconds."""
    started, cpu = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - started, time.process_time() - cpu


def default_catalog() -> Path:
    real = ROOT.parent / "shared" / "data" / "reddit_v2" / "catalog.csv"
    return real if real.is_file() else ROOT / "catalog" / "demo.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lists", type=int, default=1_000_000)
    parser.add_argument("--plain", type=int, default=2_000, help="rows for the plain loops")
    parser.add_argument("--catalog", type=Path, default=default_catalog())
    asked = parser.parse_args()
    items = distinct(asked.catalog)
    with tempfile.TemporaryDirectory() as folder:
        path, few = Path(folder) / "lists.jsonl", Path(folder) / "few.jsonl"
        make(path, items, asked.lists)
        make(few, items, asked.plain)

        plain, slow, slow_cpu = timed(lambda: plain_score(few, items, asked.plain))
        ours = score_file(few, asked.catalog, resamples=100).metrics
        for name, value in plain.items():
            if not math.isclose(value, ours[name].value, abs_tol=1e-9):
                sys.exit(f"{name}: plain loops say {value}, convrec {ours[name].value}")

        scored, seconds, cpu = timed(lambda: score_file(path, asked.catalog))
    found = {
        "lists": scored.lists,
        "catalog": len(items),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "lists_per_second": round(scored.lists / seconds),
        "plain_lists_per_second": round(asked.plain / slow),
        "factor": round(scored.lists / seconds * slow / asked.plain, 1),
        "factor_by_cpu_seconds": round(scored.lists / cpu * slow_cpu / asked.plain, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    for name, value in found.items():
        print(f"{name.replace('_', ' ')}: {value:,}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
