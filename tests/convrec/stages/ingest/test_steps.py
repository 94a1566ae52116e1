from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convrec.artifacts import Store
from convrec.config import load
from convrec.stages.base import Step, StepContext
from convrec.stages.ingest import CATALOG, CONVERSATIONS, QUARANTINE, read_data
from convrec.stages.ingest.read import load_conversations
from convrec.utils.latest_value import LatestValue

STEPS = (CATALOG, CONVERSATIONS, QUARANTINE)


def ctx(store: Store, profile: str = "demo", **overrides: Any) -> StepContext:
    return StepContext(
        load(profile, {key.replace("__", "."): v for key, v in overrides.items()}), store
    )


def ids(ctx: StepContext) -> list[str]:
    return [step.spec(ctx).artifact_id for step in STEPS]


def changed(one: list[str], other: list[str]) -> set[str]:
    return {step.kind for step, a, b in zip(STEPS, one, other, strict=True) if a != b}


def write_reddit(folder: Path) -> Path:
    folder.mkdir()
    row = {
        "prompt": "USER: Like Heat?",
        "seen_titles": [],
        "groundtruth_with_release_year": [["Ronin", 1998]],
    }
    (folder / "catalog.csv").write_text("title,year\nHeat,1995\nRonin,19\n")
    (folder / "rows.jsonl").write_text(json.dumps(row) + "\n{\n")
    return folder


def test_all_three_kinds_are_stored(store: Store, tmp_path: Path) -> None:
    work = ctx(store, "reddit-v2", ingest__path=str(write_reddit(tmp_path / "data")))
    for step in STEPS:
        built = step.build(work)
        ref = store.put(step.spec(work), built, seconds=0.0)
        assert store.read(ref.artifact_id).equals(built.rows)
    figures = dict(CONVERSATIONS.build(work).figures)
    assert figures == {
        "samples": 1,
        "contexts_train": 1,
        "contexts_validation": 0,
        "contexts_test": 0,
        "mean_ground_truth": 1.0,
        "quarantined": 1,
    }
    assert dict(QUARANTINE.build(work).figures) == {
        "rows": 2, "from catalog.csv": 1, "from rows.jsonl": 1,
    }  # fmt: skip


def test_only_what_can_change_the_rows_is_in_the_id(store: Store, tmp_path: Path) -> None:
    path = str(write_reddit(tmp_path / "data"))
    first = ids(ctx(store, "reddit-v2", ingest__path=path))
    other = tmp_path / "other.csv"
    other.write_text("title,year\nDune,1984\n")
    catalog = ctx(store, "reddit-v2", ingest__path=path, ingest__catalog=str(other))
    assert changed(first, ids(catalog)) == {"catalog", "quarantine"}
    limited = ctx(store, "reddit-v2", ingest__path=path, ingest__limit=1)
    assert changed(first, ids(limited)) == {"conversations", "quarantine"}
    assert ids(ctx(store, "reddit-v2", ingest__path=path, sft__epochs=9, seed=8)) == first
    moved = str(write_reddit(tmp_path / "moved"))
    assert ids(ctx(store, "reddit-v2", ingest__path=moved)) == first
    with (tmp_path / "moved" / "rows.jsonl").open("a") as file:
        file.write("{\n")
    assert changed(first, ids(ctx(store, "reddit-v2", ingest__path=moved))) == {
        "conversations", "quarantine",
    }  # fmt: skip


def test_the_demo_depends_on_its_seed_and_sizes(store: Store) -> None:
    first = ids(ctx(store))
    assert changed(first, ids(ctx(store, seed=8))) == {"conversations", "quarantine"}
    assert changed(first, ids(ctx(store, ingest__contexts={"test": 3}))) == {
        "conversations", "quarantine",
    }  # fmt: skip


def test_the_demo_has_all_splits_and_a_quarantine(store: Store) -> None:
    sizes = {"train": 30, "validation": 4, "test": 5}
    source = read_data(ctx(store, ingest__contexts=sizes).config)
    found = {
        split: frame["context_id"].n_unique()
        for (split,), frame in source.conversations.partition_by("split", as_dict=True).items()
    }
    assert found == sizes
    assert {"demo", "demo.csv"} <= set(source.quarantine["source"])


def test_a_second_step_reads_no_file(store: Store, tmp_path: Path) -> None:
    work = ctx(store, "reddit-v2", ingest__path=str(write_reddit(tmp_path / "data")))
    assert load_conversations(work.config) is load_conversations(work.config)
    assert CATALOG.build(work).rows is read_data(work.config).catalog


def test_a_changed_file_is_read_again(store: Store, tmp_path: Path) -> None:
    folder = write_reddit(tmp_path / "data")
    work = ctx(store, "reddit-v2", ingest__path=str(folder))
    assert read_data(work.config).catalog.height == 1
    (folder / "catalog.csv").write_text("title,year\nHeat,1995\nRonin,1998\n")
    assert read_data(work.config).catalog.height == 2


def test_the_steps_belong_to_ingest() -> None:
    assert [step.kind for step in STEPS] == ["catalog", "conversations", "quarantine"]
    assert {step.stage for step in STEPS} == {"ingest"}
    assert all(isinstance(step, Step) for step in STEPS)


def test_a_catalog_edit_does_not_reread_conversations(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(write_reddit(tmp_path / "data"))
    work = ctx(store, "reddit-v2", ingest__path=path)
    for step in STEPS:
        store.put(step.spec(work), step.build(work))
    catalog = tmp_path / "other.csv"
    catalog.write_text("title,year\nDune,1984\nRonin,19\nHeat,1\n")
    edited = ctx(store, "reddit-v2", ingest__path=path, ingest__catalog=str(catalog))
    expected = read_data(edited.config).quarantine

    def fail(config: object) -> None:
        raise AssertionError("the conversations were read again")

    with monkeypatch.context() as patch:
        patch.setattr("convrec.stages.ingest.read._read_conversations", fail)
        patch.setattr("convrec.stages.ingest.read._LATEST_CONVERSATIONS", LatestValue())
        assert QUARANTINE.build(edited).rows.equals(expected)
    with store.transaction() as connection:  # as when a post is forgotten
        connection.execute("DELETE FROM quarantine WHERE source = 'rows.jsonl'")
        connection.execute("UPDATE artifacts SET rows = 1 WHERE kind = 'quarantine'")
    assert QUARANTINE.build(edited).rows.equals(expected)
