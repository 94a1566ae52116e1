"""A catalog edit on the demo: what it asks, and that it equals a rebuild from scratch.

    python benchmarks/catalog_edit.py [--profile demo] [--added 10] [--removed 10] [--renamed 5]
        [--seed 0] [--set section.key=value ...]

Builds the data of a profile, edits its catalog at random, plans and builds again. Then it builds
once more in an empty warehouse that received the similarity basis, the fit of Adjust, the stored
answers and the pair index. Checks: the edit does not ask the teacher; the judge is asked about new
(conversation, item, pass) pairs only; the plan's range contains the bill; every artifact has the
same id and the same rows as the rebuild. Also prints how many demonstrations changed, and how many
of these name an edited item. The last line is JSON; the exit status is 1 if a check failed.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from convrec.artifacts import Store
from convrec.catalog.diff import diff_catalogs
from convrec.config import ROOT, load, parse_overrides
from convrec.operations.catalog_change.report import compare_demonstrations
from convrec.pipeline.cost import most_requests
from convrec.pipeline.plan import make_plan

CARRIED = ("llm_answers", "llm_judged")


def edit(source: Path, target: Path, counts: argparse.Namespace) -> None:
    """Write the catalog with some rows removed, some renamed and some added."""
    rng = random.Random(counts.seed)
    with source.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        columns, rows = list(reader.fieldnames or []), list(reader)
    title = columns[0]
    touched = rng.sample(range(len(rows)), counts.removed + counts.renamed)
    for place in touched[: counts.renamed]:
        rows[place][title] += ": The Director's Cut"
    gone = set(touched[counts.renamed :])
    kept = [row for place, row in enumerate(rows) if place not in gone]
    for number in range(counts.added):  # like an existing film, under a new name
        like = rng.choice(rows)
        kept.append({**like, title: f"The Unmade Sequel {number + 1}", "aliases": ""})
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(kept)


def build(home: Path, profile: str, overrides: dict[str, Any]) -> tuple[dict[str, Any], float]:
    from flows.pipeline import pipeline

    os.environ["CONVREC_HOME"] = str(home)
    started = time.perf_counter()
    summary = pipeline(profile=profile, overrides=overrides, until="adjust")
    return summary, time.perf_counter() - started


def sent(store: Store, run: str) -> dict[str, int]:
    """Requests that a run sent, by stage."""
    with store.read_connection() as connection:
        rows = connection.execute(
            "SELECT stage, count(*) FROM llm_ledger WHERE run = ? GROUP BY stage", [run]
        ).fetchall()
    return dict(rows)


def judged(store: Store) -> set[tuple[Any, ...]]:
    """Each (conversation and judge, item, pass) that the judge was asked about."""
    with store.read_connection() as connection:
        query = "SELECT judge_key, unnest(items), pass FROM llm_judged"
        return set(connection.execute(query).fetchall())


def carry(old: Store, new: Store) -> None:
    """Copy the answers, the pair index and what is pinned into an empty warehouse."""
    with old.read_connection() as connection:
        tables = {name: connection.execute(f"SELECT * FROM {name}").pl() for name in CARRIED}
        pins = connection.execute("SELECT * FROM pins").pl()
        pinned = pins["artifact_id"].to_list()
        for name in ("artifacts", "similarity_basis", "adjustment"):
            tables[name] = connection.execute(
                f"SELECT * FROM {name} WHERE artifact_id IN (SELECT unnest(?))", [pinned]
            ).pl()
    with new.transaction() as connection:
        for name, rows in {**tables, "pins": pins}.items():
            connection.register("rows_", rows.to_arrow())
            connection.execute(f"INSERT INTO {name} SELECT * FROM rows_")


def data_seconds(summary: dict[str, Any]) -> float:
    """Seconds of the data stages."""
    return float(sum(e["seconds"] for e in summary["stages"]))


def changes(store: Store, first: dict[str, Any], second: dict[str, Any]) -> dict[str, int]:
    """How many demonstrations the edit changed."""
    (old, new), catalogs = (
        [
            next(e["artifact_id"] for e in summary["stages"] if e["kind"] == kind)
            for summary in (first, second)
        ]
        for kind in ("demonstrations", "catalog")
    )
    diff = diff_catalogs(*map(store.read, catalogs))
    report = compare_demonstrations(store, old, new, diff)
    return {
        "demonstrations": report.total,
        "changed": report.changed.height,
        "name an edited item": report.explained,
        **report.kinds,
    }


def unequal(summaries: list[dict[str, Any]], stores: list[Store]) -> list[str]:
    """Kinds whose artifacts differ in id or rows."""
    different = []
    for one, other in zip(*(summary["stages"] for summary in summaries), strict=True):
        ids = one["artifact_id"], other["artifact_id"]
        if ids[0] is None and ids[1] is None:
            continue
        rows = [store.read(name) for store, name in zip(stores, ids, strict=True)]
        if ids[0] != ids[1] or not rows[0].equals(rows[1]):
            different.append(one["kind"])
    return different


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="demo")
    parser.add_argument("--added", type=int, default=10)
    parser.add_argument("--removed", type=int, default=10)
    parser.add_argument("--renamed", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    options = parser.parse_args()
    from flows.cli import environment

    environment()
    overrides = parse_overrides(options.set)
    with tempfile.TemporaryDirectory() as root:
        os.environ.setdefault("PREFECT_HOME", str(Path(root) / "prefect"))
        first, first_seconds = build(Path(root) / "home", options.profile, overrides)
        catalog = Path(root) / "catalog.csv"
        edit(ROOT / "catalog" / f"{options.profile}.csv", catalog, options)
        overrides = {**overrides, "ingest.catalog": str(catalog)}
        store = Store(Path(root) / "home")
        before = judged(store)
        plan = make_plan(load(options.profile, overrides), store)["llm"]
        second, second_seconds = build(store.home, options.profile, overrides)
        new = judged(store) - before
        fresh = Store(Path(root) / "fresh")
        carry(store, fresh)
        third, _ = build(fresh.home, options.profile, overrides)
        asked = sent(store, second["flow_run_id"])
        figures = {
            "first": {"sent": first["llm"]["sent"], "usd": first["llm"]["usd"]},
            "plan": plan,
            "edit": {"sent": asked, "usd": second["llm"]["usd"], "pairs judged": len(new)},
            "pairs before": len(before),
            "seconds": {"first": round(first_seconds, 1), "edit": round(second_seconds, 1)},
            "share of the stages' time": round(data_seconds(second) / data_seconds(first), 3),
            "seconds by stage": {
                one["kind"]: [one["seconds"], other["seconds"]]
                for one, other in zip(first["stages"], second["stages"], strict=True)
            },
            "changes": changes(store, first, second),
            "rebuild": {"sent": third["llm"]["sent"]},
            "unequal to the rebuild": unequal([second, third], [store, fresh]),
        }
    figures["checks"] = {
        "teacher asked nothing": not asked.get("recommend") and not plan["teacher"]["requests"],
        "requests within the range": plan["judge"]["requests"]
        <= asked.get("reflect", 0)
        <= most_requests(plan["judge"]),
        "bill within the range": sum(part["usd_low"] for part in plan.values())
        <= second["llm"]["usd"]
        <= sum(part["usd_high"] for part in plan.values()),
        "rebuild sent nothing": third["llm"]["sent"] == 0,
        "equal to the rebuild": not figures["unequal to the rebuild"],
    }
    for name, value in figures.items():
        print(f"{name}: {value}")
    print(json.dumps(figures))
    sys.exit(not all(figures["checks"].values()))


if __name__ == "__main__":
    main()
