from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from convrec.artifacts import Store
from convrec.catalog.publish import publish_catalog
from convrec.catalog.selection import unpublished_edit
from convrec.catalog.watch import find_watched_files
from convrec.config import load
from convrec.stages.base import StepContext
from convrec.stages.ingest import CATALOG
from tests.support.catalogs import DEMO_LINES, write_lines

pytestmark = pytest.mark.on_ducklake


def changed_files(store: Store) -> list[Path]:
    files = find_watched_files(store)
    assert [file.name for file in files] == ["demo"]
    return [file.file for file in files if file.changed]


def record_run(store: Store) -> None:
    """Store the demo's catalog and the record of a run that built it."""
    config = load("demo")
    ctx = StepContext(config, store)
    ref = store.put(CATALOG.spec(ctx), CATALOG.build(ctx))
    record: dict[str, Any] = {
        "flow_run_id": "r",
        "profile": "demo",
        "stages": [{"stage": "ingest", "kind": "catalog", "artifact_id": ref.artifact_id}],
        "config": config.model_dump(mode="json"),
    }
    folder = store.home / "runs"
    folder.mkdir()
    (folder / "r.json").write_text(json.dumps(record))
    (folder / "half.json").write_text("{")
    os.utime(folder / "half.json")


def test_an_edit_in_place_is_compared_with_the_last_build(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convrec.catalog.selection.ROOT", tmp_path)
    (tmp_path / "catalog").mkdir()
    file = write_lines(tmp_path / "catalog" / "demo.csv", DEMO_LINES)
    assert changed_files(store) == []
    record_run(store)
    assert changed_files(store) == []
    write_lines(file, [DEMO_LINES[0], *DEMO_LINES[2:]])
    assert changed_files(store) == [file]
    publication = publish_catalog(file, "demo", store)
    assert (publication.version.version, publication.counts["removed"]) == (1, 1)
    assert publication.version.compared_with.startswith("catalog-")
    assert changed_files(store) == []


def test_an_edit_in_place_is_compared_with_published_versions(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convrec.catalog.selection.ROOT", tmp_path)
    (tmp_path / "catalog").mkdir()
    file = write_lines(tmp_path / "catalog" / "demo.csv", DEMO_LINES)
    publish_catalog(file, "demo", store)
    other = write_lines(tmp_path / "other.csv", [DEMO_LINES[0], *DEMO_LINES[2:]])
    publish_catalog(other, "demo", store)
    assert changed_files(store) == []  # version 1 is this file
    assert unpublished_edit(load("demo")) == ""
    write_lines(file, [DEMO_LINES[0], *DEMO_LINES[3:]])
    assert changed_files(store) == [file]
    assert "at published version 2" in unpublished_edit(load("demo"))
