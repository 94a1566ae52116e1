"""Build the SFT data of a dataset of Reddit-v2's size from stored answers; then edit one item.

    python benchmarks/full_build.py [--contexts 95753] [--catalog FILE] [--items 1] [--keep FOLDER]

Conversations, catalog and the teacher's lists are those of remap_scale.py. A warehouse is filled
with the teacher's answers and with a judge's answer for every pair that would be asked. Each of
these builds then runs in a fresh process, as `build-sft-data` does: the full build from the answers
in a warehouse without artifacts; a second run that finds everything cached; and a rebuild after
items were added to the catalog, whose new pairs are already answered. The rebuild scores candidates
where the edit reaches and copies the others; the fit of adjust is pinned. Nothing is sent. Prints
seconds by artifact and peak memory; the last line is JSON. Goals: the full build in 30 minutes and
6 GB, the edit in 25 seconds and a fifth of the build.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

from harness import peak_mb
from remap_scale import generate

from convrec.artifacts import Store
from convrec.config import load
from convrec.llm.prices import Usage
from convrec.llm.response import Response, make_response
from convrec.llm.response_store import ResponseStore
from convrec.pipeline.graph import NODES, Node
from convrec.stages.base import StepContext
from convrec.stages.reflect.judge_responses import JudgeResponses
from convrec.stages.reflect.pairs import cached_pairs

COMMIT = 5000


def settings(folder: Path, catalog: str, more: Mapping[str, Any] = {}) -> dict[str, Any]:
    return {
        "ingest.path": str(folder / "train.jsonl"),
        "ingest.catalog": str(folder / catalog),
        "llm.base_url": "http://127.0.0.1:9/v1",  # no server: every request fails
        "llm.endpoint": "stored",
        "model.base": "tiny",
        **more,
    }


def response(text: str) -> str:
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]})


def teacher_answers(ctx: StepContext, folder: Path) -> Iterator[Response]:
    """The list of every context, in the format that the prompt asks for."""
    requests = NODES["teacher_lists"].step.responses.requests
    assert requests is not None
    with (folder / "lists.csv").open(encoding="utf-8", newline="") as file:
        lists = groupby(csv.DictReader(file), key=itemgetter("context"))
        for request, (_, rows) in zip(requests(ctx), lists, strict=True):
            lines = [f"{row['rank']}. {row['title']} ({row['year']})" for row in rows]
            text = response("\n".join(lines))
            yield make_response(request, text, Usage(0, 0, 0), 0.0, run="fill", stage="recommend")


def judge_answers(ctx: StepContext, rng: random.Random) -> Iterator[Response]:
    """A rating for every pair that has not been judged."""
    pairs, scale = cached_pairs(ctx), ctx.config.reflect.scale
    for some in pairs.slices():
        for asked in pairs.missing_requests(some):
            ratings = [
                {"candidate": number, "rating": rng.randint(-scale, scale)}
                for number in range(1, len(asked.items) + 1)
            ]
            text = response(json.dumps({"ratings": ratings}))
            yield make_response(
                asked.request, text, Usage(0, 0, 0), 0.0, run="fill", stage="reflect"
            )


def keep(answers: Iterator[Response], store: Store) -> int:
    kept, total = ResponseStore(store), 0
    while group := list(islice(answers, COMMIT)):
        kept.add(group)
        total += len(group)
    return total


def fill(folder: Path, home: Path, catalog: str, more: Mapping[str, Any] = {}) -> None:
    """Answers for all requests of a build of this catalog, and the artifacts in between."""
    config = load("reddit-v2", settings(folder, catalog, more))
    store, refs = Store(home), {}

    def context(node: Node) -> StepContext:
        made = {role: refs[name] for role, name in node.reads.items() if name in refs}
        return StepContext(config, store, made)

    for name in ("catalog", "conversations", "teacher_lists", "similarity_basis", "candidates"):
        node = NODES[name]
        ctx = context(node)
        if name == "teacher_lists" and not store.find(node.step.spec(ctx).artifact_id):
            print(f"{keep(teacher_answers(ctx, folder), store):,} answers of the teacher")
        pin = node.pin(config)
        pinned = store.pins().get(pin) if pin else None
        spec = node.step.spec(ctx)
        found = store.find(pinned or spec.artifact_id)
        refs[name] = found or store.put(spec, node.step.build(ctx))
        if pin and not pinned:
            store.pin(pin, refs[name].artifact_id)
    ctx = context(NODES["judgments"])
    print(f"{keep(judge_answers(ctx, random.Random(7)), store):,} answers of the judge")
    JudgeResponses().record(ctx)


def take_answers(source: Path, target: Path) -> None:
    """Copy the answers of a warehouse and their ledger entries into another, and nothing else."""
    for table in ("llm_answers", "llm_ledger"):
        file = source / f"{table}.parquet"
        with Store(source).read_connection() as connection:
            connection.execute(f"COPY {table} TO '{file}'")
        with Store(target).transaction() as connection:
            connection.execute(
                f"INSERT INTO {table} BY NAME SELECT * FROM '{file}' AS f "
                f"WHERE NOT EXISTS (SELECT 1 FROM {table} AS t WHERE t.request_key = f.request_key)"
            )
        file.unlink()


def build(folder: Path, catalog: str) -> None:
    """One run of build-sft-data in this process; prints its figures as JSON."""
    from flows.build_sft_data import build_sft_data

    started = time.perf_counter()
    summary = build_sft_data(profile="reddit-v2", overrides=settings(folder, catalog))
    row = {
        "seconds": round(time.perf_counter() - started, 1),
        "processor seconds": round(time.process_time(), 1),
        "peak_mb": round(peak_mb()),
        "sent": summary["llm"]["sent"],
        "by artifact": {e["kind"]: round(e["seconds"], 1) for e in summary["stages"]},
    }
    print(json.dumps(row))


def measured(home: Path, folder: Path, catalog: str) -> dict[str, Any]:
    """The figures of one run in a fresh process, without its startup."""
    environment = {**os.environ, "CONVREC_HOME": str(home), "OPENAI_API_KEY": "unused"}
    command = [sys.executable, __file__, "--child", str(folder), catalog]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    row: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--contexts", type=int, default=95_753)
    parser.add_argument("--catalog", default="")
    parser.add_argument("--items", type=int, default=1, help="Items added by the edit.")
    parser.add_argument("--keep", type=Path, help="Work in this folder; reuse its contents.")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    from flows.cli import environment

    environment()
    if options.child:
        build(Path(options.child[0]), options.child[1])
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("PREFECT_HOME", str(folder / "prefect"))
        if not (folder / "lists.csv").exists():
            generate(folder, options.contexts, options.catalog)
        text = (folder / "catalog.csv").read_text(encoding="utf-8")
        added = [f'"The Unmade Sequel {number}",2021' for number in range(1, options.items + 1)]
        (folder / "edited.csv").write_text("\n".join([text.rstrip("\n"), *added, ""]), "utf-8")
        filled, home = folder / "filled", folder / "home"
        if not home.exists():
            fill(folder, filled, "catalog.csv")
            take_answers(filled, home)
        figures: dict[str, Any] = {"contexts": options.contexts}
        figures["full"] = measured(home, folder, "catalog.csv")
        print("full:", figures["full"], flush=True)
        figures["again"] = measured(home, folder, "catalog.csv")
        print("again:", figures["again"], flush=True)
        fill(folder, filled, "edited.csv")
        take_answers(filled, home)
        figures["edit"] = measured(home, folder, "edited.csv")
        print("edit:", figures["edit"], flush=True)
    figures["share"] = round(figures["edit"]["seconds"] / figures["full"]["seconds"], 3)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
