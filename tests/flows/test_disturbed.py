"""Runs whose surroundings change: the warehouse goes between two stages, the clock goes back."""

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

AHEAD = timedelta(days=400)


class Thief:
    """Takes the warehouse away once the teacher's lists are stored."""

    def __init__(self, home: Path) -> None:
        self.path = home / "warehouse.duckdb"

    def progress(self, name: str, done: int, total: int, text: str) -> None: ...

    def finished(self, entry: Mapping[str, Any], note: str) -> None:
        if entry["kind"] == "teacher_lists":
            self.path.rename(self.path.with_name("away"))


def test_a_warehouse_that_goes_between_two_stages(home: Path, small: dict[str, Any]) -> None:
    token = listener.set(Thief(home))
    try:
        with pytest.raises(
            WarehouseError, match="was moved or deleted while convrec ran"
        ) as caught:
            pipeline(profile="demo", overrides=small, until="remap")
    finally:
        listener.reset(token)
    assert caught.value.resume.startswith("convrec run demo --until remap")
    assert not (home / "warehouse.duckdb").exists()  # nothing was begun in its place
    (home / "away").rename(home / "warehouse.duckdb")
    assert pipeline(profile="demo", overrides=small, until="remap")["llm"]["sent"] == 0


def test_a_clock_that_is_set_back(home: Path, small: dict[str, Any]) -> None:
    """Whatever is stored lies ahead: the same as a clock that went back after the run."""
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
    made = {entry["artifact_id"] for entry in first["stages"] if entry["artifact_id"]}
    assert made <= {header.ref.artifact_id for header in store.headers()}
    garbage = find_garbage(store)
    assert not made & {one.artifact_id for one in garbage.artifacts}
    assert not garbage.leftovers
