"""Random catalog edits: what is rebuilt equals a rebuild from nothing, row for row."""

from __future__ import annotations

import csv
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.catalog_edit import carry, judged
from convrec.artifacts import ArtifactRef, Store
from convrec.config import DATA_STAGES, ROOT, Config, load
from convrec.demo import server
from convrec.pipeline.graph import PIPELINE
from convrec.stages.base import StepContext
from convrec.stages.responses import fetch_responses
from convrec.utils.progress import silent

SMALL = {
    "ingest.contexts": {"train": 10, "validation": 2, "test": 2},
    "list_length": 5,
    "reflect.top": 7,
    "remap.keep": 9,
}
Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def judge_url() -> Iterator[str]:
    """The demo's teacher and judge in this process."""
    listener = server.bind(0)
    running = server.server(server.demo_app())
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield server.base_url(listener)
    running.should_exit = True
    thread.join(10)


def build(config: Config, store: Store) -> tuple[dict[str, ArtifactRef], dict[str, int]]:
    """All data artifacts, those that are stored from the store; and what was sent, by stage."""
    refs: dict[str, ArtifactRef] = {}
    sent: dict[str, int] = {}
    for node in PIPELINE:
        if node.stage not in DATA_STAGES:
            continue
        parents = {role: refs[name] for role, name in node.reads.items()}
        ctx = StepContext(config, store, parents)
        if node.step.asks(config):
            sent[node.stage] = fetch_responses(
                node.step, ctx, run="r", spent_usd=0.0, progress=silent
            ).sent
        pin = node.pin(config)
        ref = store.pinned(pin) if pin else None
        spec = node.step.spec(ctx)
        ref = ref or store.find(spec.artifact_id) or store.put(spec, node.step.build(ctx))
        if pin:
            store.pin(pin, ref.artifact_id)
        refs[node.name] = ref
    return refs, sent


def shipped() -> Rows:
    with (ROOT / "catalog" / "demo.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def edit(rows: Rows, rng: random.Random) -> Rows:
    """The catalog after three to nine random edits of every kind that people make."""
    rows = [dict(row) for row in rows]
    for number in range(rng.randint(3, 9)):
        at = rng.randrange(len(rows))
        kind = rng.choice(
            ("remove", "add", "rename", "year", "text", "alias", "repeat", "break", "move")
        )
        if kind == "remove":
            del rows[at]
        elif kind == "add":
            title = f"The Unmade Sequel {rng.randrange(10**6)}"
            rows.append({**rng.choice(rows), "title": title, "aliases": ""})
        elif kind == "rename":
            rows[at]["title"] += f" {number + 2}"
        elif kind == "year":
            rows[at]["year"] = str(rng.randint(1950, 2020))
        elif kind == "text":
            rows[at]["keywords"] = rng.choice(rows)["keywords"]
        elif kind == "alias":
            rows[at]["aliases"] = rng.choice(rows)["title"]
        elif kind == "repeat":
            rows.append(dict(rows[at]))
        elif kind == "break":
            rows[at]["year"] = "195"
        else:
            rows.insert(rng.randrange(len(rows)), rows.pop(at))
    return rows


def write(rows: Rows, path: Path) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.parametrize("seed", range(2))
def test_an_edit_gives_what_a_rebuild_from_nothing_gives(
    seed: int, judge_url: str, store: Store, tmp_path: Path
) -> None:
    rng, rows = random.Random(seed), shipped()
    build(load("demo", {**SMALL, "llm.base_url": judge_url}), store)
    for step in range(2):
        rows = edit(rows, rng)
        catalog = write(rows, tmp_path / f"{step}.csv")
        given = {**SMALL, "llm.base_url": judge_url, "ingest.catalog": str(catalog)}
        config, before = load("demo", given), judged(store)
        refs, sent = build(config, store)
        assert sent["recommend"] == 0
        wanted = store.read(refs["judgments"].artifact_id).height * config.reflect.passes
        new = judged(store) - before
        assert len(new) <= wanted
        assert (sent["reflect"] > 0) == bool(new)  # nobody is asked about a pair that is known

        fresh = Store(tmp_path / f"fresh-{step}")
        carry(store, fresh)
        again, asked = build(config, fresh)
        assert sum(asked.values()) == 0
        for name, ref in refs.items():
            assert again[name].artifact_id == ref.artifact_id, name
            assert fresh.read(ref.artifact_id).equals(store.read(ref.artifact_id)), name
