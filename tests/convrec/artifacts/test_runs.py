from __future__ import annotations

import pytest

from convrec.artifacts import Store
from convrec.artifacts.runs import (
    COMPLETED,
    RUNNING,
    RunArtifact,
    add_run_artifact,
    code_revision,
    find_run,
    finish_run,
    list_runs,
    start_run,
)
from convrec.errors import InputError

pytestmark = pytest.mark.on_ducklake


def started(store: Store, run_id: str) -> None:
    overrides = {"rank_grpo.steps": 3}
    start_run(store, run_id, flow="pipeline", profile="demo", overrides=overrides, config={"a": 1})


def test_a_run_is_recorded_from_start_to_end(store: Store) -> None:
    started(store, "abcd-1")
    add_run_artifact(store, "abcd-1", RunArtifact("catalog", "catalog-1", COMPLETED, 0.5))
    (run,) = list_runs(store)
    assert (run.state, run.ended_at) == (RUNNING, None)
    assert run.overrides == {"rank_grpo.steps": 3}
    assert run.artifacts == [RunArtifact("catalog", "catalog-1", COMPLETED, 0.5)]
    assert run.revision == code_revision() != ""

    finish_run(store, "abcd-1", "BudgetExceeded")
    assert find_run(store, "abcd").state == "BudgetExceeded"


def test_a_retry_replaces_the_run(store: Store) -> None:
    started(store, "abcd-1")
    add_run_artifact(store, "abcd-1", RunArtifact("catalog", "catalog-1", COMPLETED, 0.5))
    started(store, "abcd-1")
    (run,) = list_runs(store)
    assert run.artifacts == []


def test_a_run_is_found_by_a_unique_prefix(store: Store) -> None:
    for run_id in ("abcd-1", "abcd-2"):
        started(store, run_id)
    assert find_run(store, "abcd-2").run_id == "abcd-2"
    for name, why in (("abcd", "2 runs"), ("ffff", "0 runs"), ("a", "too short")):
        with pytest.raises(InputError, match=why):
            find_run(store, name)
