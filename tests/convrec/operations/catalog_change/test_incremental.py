"""Random catalog edits: an incremental build equals a build from nothing, row for row."""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from convrec.artifacts import ArtifactRef, Store
from convrec.config import DATA_STAGES, ROOT, Config, load
from convrec.pipeline.graph import PIPELINE
from convrec.stages.base import StepContext
from convrec.stages.responses import fetch_responses
from convrec.utils.progress import no_progress
from tests.support.demo_endpoint import demo_endpoint
from tests.support.judged_pairs import copy_responses, judged_pairs

SMALL = {
    "ingest.contexts": {"train": 10, "validation": 2, "test": 2},
    "list_length": 5,
    "reflect.top": 7,
    "remap.keep": 9,
    "remap.describe": "off",
}
Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def endpoint_url() -> Iterator[str]:
    with demo_endpoint() as url:
        yield url


def build(config: Config, store: Store) -> tuple[dict[str, ArtifactRef], dict[str, int]]:
    """Build the data artifacts that are not stored. Returns all, and the requests sent by stage."""
    refs: dict[str, ArtifactRef] = {}
    sent: dict[str, int] = {}
    for node in PIPELINE:
        if node.stage not in DATA_STAGES:
            continue
        parents = {role: refs[name] for role, name in node.reads.items()}
        ctx = StepContext(config, store, parents)
        if node.step.needs_responses(config):
            sent[node.stage] = fetch_responses(
                node.step, ctx, run="r", spent_usd=0.0, progress=no_progress
            ).sent
        pin = node.pin(config)
        ref = store.pinned(pin) if pin else None
        spec = node.step.spec(ctx)
        ref = ref or store.find(spec.artifact_id) or store.put(spec, node.step.build(ctx))
        if pin:
            store.pin(pin, ref.artifact_id)
        refs[node.name] = ref
    return refs, sent


def demo_rows() -> Rows:
    with (ROOT / "catalog" / "demo.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def edit(rows: Rows, rng: random.Random) -> Rows:
    """The catalog after three to nine random edits."""
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


def scored_lists(store: Store, refs: dict[str, ArtifactRef]) -> pl.DataFrame:
    """By context: its demonstration, and all that it is made of but the pinned fit."""
    catalog, candidates, judgments, demonstrations = (
        store.read(refs[name].artifact_id)
        for name in ("catalog", "candidates", "judgments", "demonstrations")
    )
    titles = catalog.select("item_id", "title", "year")
    key = ["context_id", "item_id"]
    scored = (
        candidates.select(*key, "score")
        .join(judgments.select(*key, judged="score"), on=key, how="left")
        .join(titles, on="item_id")
        .sort(key)
        .group_by("context_id")
        .agg(scored=pl.struct(pl.exclude("context_id")))
    )
    return demonstrations.select("context_id", "completion").join(scored, on="context_id")


@pytest.mark.parametrize("seed", range(2))
def test_an_incremental_build_equals_a_full_build(
    seed: int, endpoint_url: str, store: Store, tmp_path: Path
) -> None:
    rng, rows = random.Random(seed), demo_rows()
    last, _ = build(load("demo", {**SMALL, "llm.base_url": endpoint_url}), store)
    for step in range(2):
        rows = edit(rows, rng)
        catalog = write(rows, tmp_path / f"{step}.csv")
        overrides = {**SMALL, "llm.base_url": endpoint_url, "ingest.catalog": str(catalog)}
        config, before = load("demo", overrides), judged_pairs(store)
        refs, sent = build(config, store)
        assert sent["recommend"] == 0
        assert refs["adjustment"] == last["adjustment"]
        unreached = scored_lists(store, last).join(scored_lists(store, refs), on="context_id")
        unreached = unreached.filter(pl.col("scored") == pl.col("scored_right"))
        assert unreached.height
        assert unreached["completion"].equals(unreached["completion_right"])
        last = refs
        pairs = store.read(refs["judgments"].artifact_id).height * config.reflect.passes
        new = judged_pairs(store) - before
        assert len(new) <= pairs
        assert (sent["reflect"] > 0) == bool(new)  # a rated pair is not asked about again

        fresh = Store(tmp_path / f"fresh-{step}")
        copy_responses(store, fresh)
        rebuilt, sent = build(config, fresh)
        assert sum(sent.values()) == 0
        for name, ref in refs.items():
            assert rebuilt[name].artifact_id == ref.artifact_id, name
            assert fresh.read(ref.artifact_id).equals(store.read(ref.artifact_id)), name
