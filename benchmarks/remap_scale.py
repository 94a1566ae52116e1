"""Seconds and peak memory of remap and adjust on as many contexts as Reddit-v2 has.

    python benchmarks/remap_scale.py [--contexts 95753] [--catalog FILE] [--until remap]

Generates conversations in the Reddit-v2 schema (posts of about 125 words, some of them titles) over
the catalog of `../shared/data/reddit_v2` or, if that is absent, a generated one of 7,404 items. The
teacher names 20 titles per context, a few of them often and one in six outside the catalog. Each
step runs in a fresh process, so that its peak is its own. The steps are those of a run, with the
store on disk. The last line is JSON. Goals: remap and adjust in at most ten minutes and 4 GB on two
cores.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

from convrec.artifacts import StepResult, Store
from convrec.artifacts.identity import ArtifactSpec
from convrec.config import Config, load
from convrec.pipeline.graph import NODES
from convrec.stages.base import StepContext

SHARED = Path(__file__).resolve().parents[2] / "shared/data/reddit_v2/catalog.csv"
ITEMS, WORDS, OUTSIDE = 7404, 30_000, 30_000
STEPS = {
    "ingest": ["catalog", "conversations"],
    "recommend": ["teacher_lists"],
    "remap": ["similarity_basis", "candidates"],
    "adjust": ["adjustment", "demonstrations"],
}
TIMED = ("remap", "adjust")


def words(rng: random.Random, count: int) -> list[str]:
    syllables = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "er", "an")]
    return ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(count)]


def zipf(count: int) -> list[float]:
    return list(accumulate(1 / (rank + 10) for rank in range(count)))


def titles(rng: random.Random, vocabulary: list[str], count: int) -> list[tuple[str, int]]:
    made: dict[str, int] = {}
    while len(made) < count:
        name = " ".join(rng.choices(vocabulary, k=rng.randint(1, 4))).title()
        made.setdefault(name, rng.randint(1950, 2022))
    return list(made.items())


def read_catalog(file: str, rng: random.Random, vocabulary: list[str]) -> list[tuple[str, int]]:
    path = Path(file) if file else SHARED
    if not path.is_file():
        return titles(rng, vocabulary, ITEMS)
    with path.open(encoding="utf-8", newline="") as lines:
        items = [(row["title"], int(row["year"] or 0)) for row in csv.DictReader(lines)]
    return [item for item in items if item[1] > 1870]  # ingest rejects the others


def generate(folder: Path, contexts: int, catalog_file: str, tests: int = 0) -> None:
    """Write catalog.csv, train.jsonl, test.jsonl (the last `tests` contexts), and the teacher's
    titles (lists.csv)."""
    rng = random.Random(7)
    vocabulary = words(rng, WORDS)
    catalog = read_catalog(catalog_file, rng, vocabulary)
    order = rng.sample(catalog, len(catalog))
    outside = titles(rng, vocabulary, OUTSIDE)
    item_weights, word_weights, other_weights = map(zipf, (len(order), WORDS, OUTSIDE))
    with (folder / "catalog.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("title", "year"), *catalog])
    with (
        (folder / "train.jsonl").open("w", encoding="utf-8") as train,
        (folder / "test.jsonl").open("w", encoding="utf-8") as test,
        (folder / "lists.csv").open("w", encoding="utf-8", newline="") as lists,
    ):
        written = csv.writer(lists)
        written.writerow(("context", "rank", "title", "year"))
        for number in range(contexts):
            split, posts = ("train", train) if number < contexts - tests else ("test", test)
            named = rng.choices(order, cum_weights=item_weights, k=5)
            text = rng.choices(vocabulary, cum_weights=word_weights, k=rng.randint(40, 200))
            talk = f"USER: post {number} {' '.join(text)}. I liked {named[0][0]} and {named[1][0]}."
            row = {
                "sample_id": f"{split}_{number}",
                "prompt": [{"role": "user", "content": f"Here is the conversation: {talk}\n"}],
                "completion": [{"role": "assistant", "content": ""}],
                "seen_titles": [title for title, _ in named[:2]],
                "groundtruth_with_release_year": [[t, str(y)] for t, y in named[2:]],
            }
            posts.write(json.dumps(row, ensure_ascii=False) + "\n")
            listed = [*named[2:3], *rng.choices(order, cum_weights=item_weights, k=15)]
            listed += rng.choices(outside, cum_weights=other_weights, k=4)
            rng.shuffle(listed)
            written.writerows((number, r, t, y) for r, (t, y) in enumerate(listed, start=1))


def teacher_lists(ctx: StepContext, folder: Path) -> StepResult:
    """The generated lists as the `teacher_lists` artifact; the teacher itself is not measured."""
    import polars as pl

    owners = ctx.frame("conversations")["context_id"].unique(maintain_order=True)
    rows = pl.read_csv(folder / "lists.csv", schema_overrides={"rank": pl.Int32, "year": pl.Int32})
    return StepResult(
        rows.select(
            owners.gather(rows["context"]).alias("context_id"),
            "rank",
            pl.format("{}. {} ({})", "rank", "title", "year").alias("line"),
            "title",
            "year",
        )
    )


def random_vectors(ctx: StepContext, dimensions: int) -> None:
    """Store a random vector for every text, instead of a model's."""
    import numpy as np

    from convrec.stages.remap.embedding import missing_texts, vector_space
    from convrec.stages.remap.vector_store import store_vectors

    texts, rng = missing_texts(ctx), np.random.default_rng(7)
    for start in range(0, texts.height, 4096):
        part = texts.slice(start, 4096)
        vectors = rng.standard_normal((part.height, dimensions), dtype=np.float32)
        store_vectors(part, vectors, vector_space(ctx.config), ctx.store)


def run_step(name: str, folder: Path, settings: dict[str, Any], dimensions: int) -> None:
    """Build one artifact and print its id, rows, seconds and this process's peak."""
    config: Config = load("reddit-v2", {"ingest.path": str(folder / "train.jsonl"), **settings})
    store, node = Store(folder / "home"), NODES[name]
    refs = {ref.kind: ref for ref in (header.ref for header in store.headers())}
    parents = {role: refs[NODES[n].step.kind] for role, n in node.reads.items() if n in refs}
    ctx = StepContext(config, store, parents)
    if dimensions and name == "candidates":
        random_vectors(ctx, dimensions)
    started = time.perf_counter()
    if name == "teacher_lists":
        spec = ArtifactSpec("teacher_lists", "recommend", 0)
        built = teacher_lists(ctx, folder)
    else:
        spec, built = node.step.spec(ctx), node.step.build(ctx)
    seconds = time.perf_counter() - started
    ref = store.put(spec, built)
    row = {
        "step": name,
        "rows": ref.rows,
        "build_seconds": round(seconds, 1),
        "seconds": round(time.perf_counter() - started, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "figures": dict(built.figures),
    }
    print(json.dumps(row))


def steps(until: str) -> Iterator[tuple[str, str]]:
    for stage, names in STEPS.items():
        yield from ((stage, name) for name in names)
        if stage == until:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contexts", type=int, default=95_753)
    parser.add_argument("--catalog", default="")
    parser.add_argument("--until", choices=["remap", "adjust"], default="adjust")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument(
        "--dimensions", type=int, default=0, help="Random vectors of this length, not TF-IDF."
    )
    parser.add_argument("--keep", type=Path, help="Work in this folder; reuse its contents.")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        from convrec.config import parse_overrides

        run_step(
            options.child[0],
            Path(options.child[1]),
            parse_overrides(options.set),
            options.dimensions,
        )
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "lists.csv").exists():
            generate(folder, options.contexts, options.catalog)
        model = ["remap.similarity=openai", "remap.model=random"] if options.dimensions else []
        settings = ["adjust.enabled=true", *model, *options.set]
        rows = []
        for stage, name in steps(options.until):
            command = [sys.executable, __file__, "--child", name, str(folder)]
            command += ["--dimensions", str(options.dimensions), "--set", *settings]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            row = {"stage": stage, **json.loads(done.stdout.strip().splitlines()[-1])}
            print(row, flush=True)
            rows.append(row)
    timed = [row for row in rows if row["stage"] in TIMED]
    total = round(sum(row["seconds"] for row in timed), 1)
    peak = max(row["peak_mb"] for row in timed)
    print(f"remap to {options.until}: {total} s, peak {peak} MB")
    print(
        json.dumps({"contexts": options.contexts, "steps": rows, "seconds": total, "peak_mb": peak})
    )


if __name__ == "__main__":
    main()
