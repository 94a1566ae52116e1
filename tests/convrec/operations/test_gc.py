from __future__ import annotations

import fcntl
import os
import time
from math import inf
from pathlib import Path

import pytest

from convrec.artifacts import Store
from convrec.artifacts.runs import COMPLETED, RunArtifact, add_run_artifact, finish_run
from convrec.operations.gc import collect_garbage, find_garbage
from tests.support.artifacts import put_artifact, put_checkpoint, record_run, stored_ids

pytestmark = pytest.mark.on_ducklake


def age(path: Path, days: float) -> None:
    then = time.time() - days * 86400
    for one in (*path.rglob("*"), path):
        os.utime(one, (then, then))


def test_artifacts_of_the_last_runs_and_ancestors_stay(store: Store) -> None:
    root = put_artifact(store, "root")
    first, second, third = (put_artifact(store, name, root) for name in "abc")
    for name, used in (("1", first), ("2", second), ("3", third)):
        record_run(store, name, used)
    record_run(store, "other flow", first, flow="build-sft-data")
    planned = find_garbage(store, keep_runs=1)
    assert [one.artifact_id for one in planned.artifacts] == [second]
    assert len(stored_ids(store)) == 4

    assert collect_garbage(store, keep_runs=1) == planned
    assert stored_ids(store) == {root, first, third}
    assert store.find(second) is None
    assert find_garbage(store, keep_runs=1).artifacts == []


def test_failed_runs_do_not_count_as_last_runs(store: Store) -> None:
    older, good, half = (put_artifact(store, name) for name in ("older", "good", "half"))
    record_run(store, "0", older)
    record_run(store, "1", good)
    for n in range(3):
        record_run(store, f"failed-{n}", half, finish=False)
        finish_run(store, f"failed-{n}", "BudgetExceeded")
    planned = find_garbage(store, keep_runs=1)
    assert [one.artifact_id for one in planned.artifacts] == [older]


def test_artifacts_of_a_failed_run_stay_during_a_retry(store: Store) -> None:
    made, other = put_checkpoint(store, "a"), put_artifact(store, "other")
    record_run(store, "1", made, other, finish=False)
    finish_run(store, "1", "TrainingError")
    with store.transaction() as connection:
        connection.execute("UPDATE artifacts SET created_at = created_at - INTERVAL 2 DAY")
    record_run(store, "1", finish=False)
    assert collect_garbage(store).artifacts == []
    finish_run(store, "1", "InputError")
    assert collect_garbage(store).artifacts == []
    record_run(store, "1", finish=False)
    add_run_artifact(store, "1", RunArtifact("checkpoint_sft", made, COMPLETED, 0.1))
    finish_run(store, "1", COMPLETED)
    assert [one.artifact_id for one in collect_garbage(store).artifacts] == [other]


def test_a_pinned_checkpoint_keeps_its_ancestors(store: Store) -> None:
    data, other = put_artifact(store, "data"), put_artifact(store, "other")
    checkpoint, gone = put_checkpoint(store, "a", data), put_checkpoint(store, "b", other)
    record_run(store, "1", data, other, checkpoint, gone)
    store.pin("kept/it", checkpoint)
    (store.home / "results").mkdir()
    (store.home / "results" / gone).write_text("{}")
    collect_garbage(store, keep_runs=0)
    assert stored_ids(store) == {data, checkpoint}
    assert store.folder(checkpoint).is_dir()
    assert not store.folder(gone).exists()
    assert not (store.home / "results" / gone).exists()

    assert store.unpin(checkpoint) == ["kept/it"]
    collect_garbage(store, keep_runs=0)
    assert stored_ids(store) == set()


def test_artifacts_of_an_unfinished_run_stay(store: Store) -> None:
    used = put_artifact(store, "a")
    record_run(store, "1", used, finish=False)
    assert find_garbage(store, keep_runs=0).artifacts == []
    assert len(find_garbage(store, keep_runs=0, days=0).artifacts) == 1
    assert find_garbage(store, keep_runs=0, days=inf).artifacts == []


def test_an_artifact_without_a_run_stays_for_a_day(store: Store) -> None:
    made = put_artifact(store, "a")
    assert find_garbage(store, keep_runs=0).artifacts == []
    with store.transaction() as connection:
        connection.execute("UPDATE artifacts SET created_at = created_at - INTERVAL 2 DAY")
    assert [one.artifact_id for one in find_garbage(store, keep_runs=0).artifacts] == [made]


def test_everything_that_was_paid_for_stays(store: Store) -> None:
    with store.transaction() as connection:
        connection.execute("INSERT INTO llm_answers (request_key) VALUES ('k')")
        connection.execute("INSERT INTO llm_ledger (request_key, usd) VALUES ('k', 1.5)")
        connection.execute("INSERT INTO llm_judged (judge_key) VALUES ('k')")
        connection.execute("INSERT INTO embeddings (model) VALUES ('m')")
    for folder in ("spool", "demo-endpoint", "catalogs"):
        (store.home / folder).mkdir()
        (store.home / folder / "kept").write_text("x")
        age(store.home / folder, 100)
    record_run(store, "1", put_artifact(store, "a"))
    collect_garbage(store, keep_runs=0)
    assert stored_ids(store) == set()
    with store.read_connection() as connection:
        for table in ("llm_answers", "llm_ledger", "llm_judged", "embeddings", "runs"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,), table
    for folder in ("spool", "demo-endpoint", "catalogs"):
        assert (store.home / folder / "kept").exists(), folder


@pytest.mark.parametrize("days", [2, 0])
def test_old_folders_without_an_artifact_are_deleted(store: Store, days: float) -> None:
    strays = [store.make_scratch_folder(), store.home / "files" / "checkpoint-of-a-crash"]
    strays[1].mkdir()
    (strays[1] / "model.safetensors").write_text("weights")
    for stray in strays:
        age(stray, days)
    kept = put_checkpoint(store, "kept")
    gone = {one.path for one in collect_garbage(store).leftovers}
    assert gone == ({str(stray) for stray in strays} if days else set())
    assert all(stray.exists() == (not days) for stray in strays)
    assert store.find(kept)


def test_only_finished_and_abandoned_trainings_are_deleted(store: Store) -> None:
    training = store.home / "training"
    finished = training / put_checkpoint(store, "done")
    names = ("checkpoint-given-up", "checkpoint-yesterday", "checkpoint-locked")
    given_up, yesterday, locked = (training / name for name in names)
    for folder, days in ((finished, 0), (given_up, 30), (yesterday, 1), (locked, 30)):
        folder.mkdir(parents=True)
        (folder / "state.safetensors").write_text("state")
        (folder / ".lock").write_text("")
        age(folder, days)
    with (locked / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        planned = {one.path for one in find_garbage(store).leftovers}
        assert planned == {str(finished), str(given_up), str(locked)}
        assert {one.path for one in collect_garbage(store).leftovers} == {
            str(finished),
            str(given_up),
        }
    assert sorted(training.iterdir()) == sorted([yesterday, locked])
