"""Runs whose environment changes: the warehouse is moved, the clock is set back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from convrec.artifacts import Store
from convrec.errors import WarehouseError
from convrec.operations.gc import find_garbage
from flows.pipeline import pipeline
from tasks.listener import listener


@pytest.fixture
def small(small: dict[str, Any]) -> dict[str, Any]:
    """Without descriptions, which would ask for more."""
    return {**small, "remap.describe": "off"}


AHEAD = timedelta(days=400)


class WarehouseMover:
    """Moves the warehouse away once the teacher's lists are stored."""

    def __init__(self, home: Path) -> None:
        self.path = home / "warehouse.duckdb"

    def progress(self, name: str, done: int, total: int, text: str) -> None: ...

    def finished(self, entry: Mapping[str, Any], note: str) -> None:
        if entry["kind"] == "teacher_lists":
            self.path.rename(self.path.with_name("away"))


def test_a_warehouse_moved_between_stages_ends_the_run(home: Path, small: dict[str, Any]) -> None:
    token = listener.set(WarehouseMover(home))
    try:
        with pytest.raises(
            WarehouseError, match="was moved or deleted while convrec was running"
        ) as caught:
            pipeline(profile="demo", overrides=small, until="remap")
    finally:
        listener.reset(token)
    assert caught.value.resume.startswith("convrec run demo --until remap")
    assert not (home / "warehouse.duckdb").exists()  # no new one was created
    (home / "away").rename(home / "warehouse.duckdb")
    assert pipeline(profile="demo", overrides=small, until="remap")["llm"]["sent"] == 0


def test_artifacts_dated_in_the_future_are_reused(home: Path, small: dict[str, Any]) -> None:
    """All stored times are moved forward, as if the clock was set back after the run."""
    first = pipeline(profile="demo", overrides=small, until="adjust")
    store = Store(home)
    with store.transaction() as connection:
        dated = connection.execute(
            "SELECT table_name, column_name FROM duckdb_columns() "
            "WHERE database_name = current_database() AND data_type = 'TIMESTAMP'"
        ).fetchall()
        for table, column in dated:
            connection.execute(f'UPDATE "{table}" SET "{column}" = "{column}" + ?', [AHEAD])
    assert len(dated) > 5
    for path in home.rglob("*"):
        ahead = path.stat().st_mtime + AHEAD.total_seconds()
        os.utime(path, (ahead, ahead))

    again = pipeline(profile="demo", overrides=small, until="adjust")
    states = {entry["state"] for entry in again["stages"] if entry["artifact_id"]}
    assert states == {"cached"}
    assert again["llm"]["sent"] == 0
    changed = pipeline(profile="demo", overrides={**small, "remap.keep": 10}, until="adjust")
    assert changed["llm"]["sent"] == 0
    built = {entry["artifact_id"] for entry in first["stages"] if entry["artifact_id"]}
    assert built <= {header.ref.artifact_id for header in store.headers()}
    garbage = find_garbage(store)
    assert not built & {one.artifact_id for one in garbage.artifacts}
    assert not garbage.leftovers
