from __future__ import annotations

import tomllib
from datetime import timedelta
from pathlib import Path

from prefect.settings.models.server.root import ServerSettings

from convrec.artifacts import Store
from convrec.operations.gc import Garbage, Leftover
from flows.retention import retention
from tasks.retention import garbage_page
from tests.support.artifacts import put_artifact, record_run, stored_ids
from tests.support.markdown import HOSTILE_TEXTS, one_line, rendered_texts

ROOT = Path(__file__).resolve().parents[2]


def test_retention_lists_first_and_deletes_when_told(home: Path) -> None:
    store = Store(home)
    old, new = put_artifact(store, "old"), put_artifact(store, "new")
    record_run(store, "1", old)
    record_run(store, "2", new)
    listed = retention(keep_runs=1)
    assert [one["artifact_id"] for one in listed["artifacts"]] == [old]
    assert stored_ids(store) == {old, new}
    assert retention(keep_runs=1, delete=True) == listed
    assert stored_ids(store) == {new}


def test_file_names_stand_in_the_artifact_as_text() -> None:
    garbage = Garbage(
        leftovers=[Leftover(name, "no artifact has this name", 1) for name in HOSTILE_TEXTS]
    )
    cells = rendered_texts(garbage_page(garbage, deleted=False))
    assert {one_line(name) for name in HOSTILE_TEXTS} <= set(cells)


def test_prefect_keeps_events_two_weeks_heartbeats_two_days() -> None:
    server = tomllib.loads((ROOT / "prefect.toml").read_text())["server"]
    settings = ServerSettings(**server)
    assert settings.events.retention_period == timedelta(days=14)
    kept = settings.services.db_vacuum.event_retention_overrides
    assert kept == {"prefect.flow-run.heartbeat": timedelta(days=2)}
