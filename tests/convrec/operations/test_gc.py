from __future__ import annotations

import fcntl
import os
import time
from math import inf
from pathlib import Path

import polars as pl
import pytest

from convrec.artifacts import ArtifactSpec, StepResult, Store
from convrec.artifacts.runs import COMPLETED, RunArtifact, add_run_artifact, finish_run, start_run
from convrec.operations.gc import collect_garbage, find_garbage

ROWS = pl.DataFrame({"source": ["f"], "line": [1], "reason": ["r"], "raw": [""]})
FILES = pl.DataFrame({"path": ["."], "base": ["tiny"], "parameters": [1], "manifest": ["{}"]})


def put(store: Store, name: str, *parents: str) -> str:
    spec = ArtifactSpec("quarantine", "ingest", 1, {"name": name}, {p: p for p in parents})
    return store.put(spec, StepResult(ROWS)).artifact_id


def put_checkpoint(store: Store, name: str, *parents: str) -> str:
    scratch = store.make_scratch_folder()
    (scratch / "model.safetensors").write_text("weights")
    spec = ArtifactSpec("checkpoint", "sft", 1, {"name": name}, {p: p for p in parents})
    return store.put(spec, StepResult(FILES), scratch=scratch).artifact_id


def run(
    store: Store, run_id: str, *artifacts: str, flow: str = "pipeline", end: bool = True
) -> None:
    start_run(store, run_id, flow=flow, profile="demo", overrides={}, config={})
    for artifact_id in artifacts:
        add_run_artifact(store, run_id, RunArtifact("n", artifact_id, COMPLETED, 0.1))
    if end:
        finish_run(store, run_id, COMPLETED)


def ids(store: Store) -> set[str]:
    return {header.ref.artifact_id for header in store.headers()}


def age(path: Path, days: float) -> None:
    then = time.time() - days * 86400
    for one in (*path.rglob("*"), path):
        os.utime(one, (then, then))


def test_the_last_runs_and_all_that_they_were_made_from_stay(store: Store) -> None:
    root = put(store, "root")
    first, second, third = (put(store, name, root) for name in "abc")
    for name, used in (("1", first), ("2", second), ("3", third)):
        run(store, name, used)
    run(store, "other flow", first, flow="build-sft-data")
    planned = find_garbage(store, keep_runs=1)
    assert [one.artifact_id for one in planned.artifacts] == [second]
    assert len(ids(store)) == 4

    assert collect_garbage(store, keep_runs=1) == planned
    assert ids(store) == {root, first, third}
    assert store.find(second) is None
    assert find_garbage(store, keep_runs=1).artifacts == []


def test_failed_runs_do_not_push_out_the_last_one_that_completed(store: Store) -> None:
    older, good, half = (put(store, name) for name in ("older", "good", "half"))
    run(store, "0", older)
    run(store, "1", good)
    for n in range(3):
        run(store, f"failed-{n}", half, end=False)
        finish_run(store, f"failed-{n}", "BudgetExceeded")
    planned = find_garbage(store, keep_runs=1)
    assert [one.artifact_id for one in planned.artifacts] == [older]


def test_what_a_failed_run_had_stays_while_it_is_tried_again(store: Store) -> None:
    made, other = put_checkpoint(store, "a"), put(store, "other")
    run(store, "1", made, other, end=False)
    finish_run(store, "1", "TrainingError")
    with store.transaction() as connection:
        connection.execute("UPDATE artifacts SET created_at = created_at - INTERVAL 2 DAY")
    run(store, "1", end=False)
    assert collect_garbage(store).artifacts == []
    finish_run(store, "1", "InputError")
    assert collect_garbage(store).artifacts == []
    run(store, "1", end=False)
    add_run_artifact(store, "1", RunArtifact("checkpoint_sft", made, COMPLETED, 0.1))
    finish_run(store, "1", COMPLETED)
    assert [one.artifact_id for one in collect_garbage(store).artifacts] == [other]


def test_a_pinned_checkpoint_keeps_what_it_was_made_from(store: Store) -> None:
    data, other = put(store, "data"), put(store, "other")
    checkpoint, gone = put_checkpoint(store, "a", data), put_checkpoint(store, "b", other)
    run(store, "1", data, other, checkpoint, gone)
    store.pin("kept/it", checkpoint)
    (store.home / "results").mkdir()
    (store.home / "results" / gone).write_text("{}")
    collect_garbage(store, keep_runs=0)
    assert ids(store) == {data, checkpoint}
    assert store.folder(checkpoint).is_dir()
    assert not store.folder(gone).exists()
    assert not (store.home / "results" / gone).exists()

    assert store.unpin(checkpoint) == ["kept/it"]
    collect_garbage(store, keep_runs=0)
    assert ids(store) == set()


def test_what_a_run_that_goes_on_has_used_stays(store: Store) -> None:
    used = put(store, "a")
    run(store, "1", used, end=False)
    assert find_garbage(store, keep_runs=0).artifacts == []
    assert len(find_garbage(store, keep_runs=0, days=0).artifacts) == 1
    assert find_garbage(store, keep_runs=0, days=inf).artifacts == []


def test_an_artifact_of_no_run_stays_for_a_day(store: Store) -> None:
    made = put(store, "a")
    assert find_garbage(store, keep_runs=0).artifacts == []
    with store.transaction() as connection:
        connection.execute("UPDATE artifacts SET created_at = created_at - INTERVAL 2 DAY")
    assert [one.artifact_id for one in find_garbage(store, keep_runs=0).artifacts] == [made]


def test_answers_and_everything_else_that_was_paid_for_stay(store: Store) -> None:
    with store.transaction() as connection:
        connection.execute("INSERT INTO llm_answers (request_key) VALUES ('k')")
        connection.execute("INSERT INTO llm_ledger (request_key, usd) VALUES ('k', 1.5)")
        connection.execute("INSERT INTO llm_judged (judge_key) VALUES ('k')")
        connection.execute("INSERT INTO embeddings (model) VALUES ('m')")
    for folder in ("spool", "demo-endpoint", "catalogs"):
        (store.home / folder).mkdir()
        (store.home / folder / "kept").write_text("x")
        age(store.home / folder, 100)
    run(store, "1", put(store, "a"))
    collect_garbage(store, keep_runs=0)
    assert ids(store) == set()
    with store.read_connection() as connection:
        for table in ("llm_answers", "llm_ledger", "llm_judged", "embeddings", "runs"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,), table
    for folder in ("spool", "demo-endpoint", "catalogs"):
        assert (store.home / folder / "kept").exists(), folder


@pytest.mark.parametrize("days", [2, 0])
def test_stray_folders_go_when_they_are_old(store: Store, days: float) -> None:
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


def test_trainings_that_ended_or_were_given_up_go_and_one_that_goes_on_stays(store: Store) -> None:
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
