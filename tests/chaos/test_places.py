"""Disks and warehouses that fail: one clear error message, and no paid response is lost."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from convrec.artifacts import ArtifactRef, ArtifactSpec, StepResult, Store, database_file
from convrec.config import ROOT
from convrec.errors import WarehouseError
from flows import cli
from tests.support.demo_process import DemoProcess
from tests.support.killed_runs import TINY, set_options, stored_keys
from tests.support.small_disk import RunConvrec, SmallDisk, error_message


def put(store: Store, name: str, rows: int = 1) -> ArtifactRef:
    """Store rows that do not compress."""
    reasons = [json.dumps([name, row, hash((name, row))]) for row in range(rows)]
    frame = pl.DataFrame({"source": "f", "line": range(rows), "reason": reasons, "raw": reasons})
    return store.put(ArtifactSpec("quarantine", "ingest", 1, {"name": name}), StepResult(frame))


def read_all(home: Path) -> None:
    store = Store(home)
    for header in store.headers():
        store.read(header.ref.artifact_id)


def list_error(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """The error of `convrec artifacts list` for a warehouse that it cannot use."""
    monkeypatch.setenv("CONVREC_HOME", str(home))
    monkeypatch.setattr(sys, "argv", ["convrec", "artifacts", "list"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.scale
def test_a_disk_that_fills_up_loses_no_response(
    tmp_path: Path, disk: Callable[[str], SmallDisk], convrec: RunConvrec
) -> None:
    small = disk("40m")
    home = small.path / "home"
    (tmp_path / "server").mkdir()
    server = DemoProcess(tmp_path / "server", "", 0)
    contexts = json.dumps({"train": 120, "validation": 4, "test": 4})
    command = ["run", "demo", "--until", "recommend", "--set", f"llm.base_url={server.url}"]
    command += ["--set", "llm.endpoint=demo", "--set", f"ingest.contexts={contexts}"]
    filled: list[Path] = []

    def fill() -> None:
        deadline = time.monotonic() + 300
        while len(server.log_lines()) < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        filled.append(small.fill())

    filler = threading.Thread(target=fill)
    try:
        filler.start()
        error = error_message(convrec(*command, home=home))
        filler.join()
        assert "Free some space" in error
        answered = {line["key"] for line in server.log_lines()}
        assert 20 <= len(answered) < 128  # it stopped early
        assert stored_keys(home) == answered

        filled[0].unlink()
        assert convrec(*command, home=home).returncode == 0
        sent = [line["key"] for line in server.log_lines()]
        assert len(sent) == len(set(sent)) == 128
    finally:
        server.close()


def test_a_full_disk_refuses_only_the_new_artifact(disk: Callable[[str], SmallDisk]) -> None:
    small = disk("8m")
    store = Store(small.path / "home")
    before = put(store, "before")
    filling = small.fill()
    with pytest.raises(WarehouseError, match=r"no space left for .*warehouse\.duckdb; free some"):
        put(store, "much", 200_000)
    assert store.find(before.artifact_id) == before
    filling.unlink()
    after = put(store, "after")
    assert Store(store.home).find(after.artifact_id) == after


@pytest.mark.parametrize("name", ["CONVREC_HOME", "PREFECT_HOME", "TMPDIR"])
def test_a_run_does_not_start_on_a_full_disk(
    name: str, disk: Callable[[str], SmallDisk], convrec: RunConvrec, tmp_path: Path
) -> None:
    small = disk("1m")
    small.fill()
    error = error_message(convrec("run", "demo", home=tmp_path / "home", **{name: str(small.path)}))
    assert f"no space left in {small.path}; free some" in error
    assert f"or set {name} to" in error


def test_a_read_only_warehouse_can_be_read_but_not_written(
    disk: Callable[[str], SmallDisk],
) -> None:
    small = disk("16m")
    store = Store(small.path / "home")
    ref = put(store, "a")
    small.remount("ro")
    assert Store(store.home).read(ref.artifact_id).height == 1
    with pytest.raises(WarehouseError, match="cannot be written; give this user"):
        put(store, "b")


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.9])
def test_a_truncated_warehouse_is_refused_and_unchanged(store: Store, share: float) -> None:
    for number in range(4):
        put(store, str(number), 3000)
    complete = store.path.read_bytes()
    part = complete[: int(len(complete) * share)]
    store.path.write_bytes(part)
    with pytest.raises(WarehouseError, match="was not changed"):
        read_all(store.home)
    with pytest.raises(WarehouseError, match="was not changed"):
        put(store, "new")
    assert store.path.read_bytes() == part


def test_an_unusable_warehouse_is_a_one_line_error(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    complete = store.path.read_bytes()
    store.path.write_bytes(complete[:9000])
    assert "is damaged" in list_error(store.home, monkeypatch, capsys)
    store.path.write_bytes(complete)
    with store.transaction() as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    assert "was created by a newer convrec" in list_error(store.home, monkeypatch, capsys)


def test_a_warehouse_that_stays_locked_is_an_error(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(database_file, "LOCK_TIMEOUT", 0.2)
    hold = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('locked', flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", hold, str(store.path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        assert "was locked by another process" in list_error(store.home, monkeypatch, capsys)
    finally:
        other.communicate("\n")
    assert put(store, "a").rows == 1  # that process has ended


def test_a_missing_warehouse_is_not_silently_replaced(store: Store) -> None:
    ref = put(store, "a")
    away = store.path.rename(store.home / "away")
    for access in (lambda: store.find(ref.artifact_id), lambda: put(store, "b")):
        with pytest.raises(WarehouseError, match="was moved or deleted while convrec was running"):
            access()
    away.rename(store.path)
    assert store.find(ref.artifact_id) == ref


@pytest.mark.timeout(1800)
def test_training_resumes_after_a_full_disk(
    disk: Callable[[str], SmallDisk], convrec: RunConvrec
) -> None:
    """The model, its optimizer and their checkpoints take about 15 MB."""
    small = disk("64m")
    settings = {**TINY, "model.hidden": 128, "model.layers": 2, "model.vocabulary": 2000}
    until = ("run", "demo", *set_options(settings), "--until")
    built = convrec(*until, "adjust", home=small.path)
    assert built.returncode == 0, built.stderr
    small.remount(f"size={shutil.disk_usage(small.path).used // 2**20 + 3}m")
    failed = convrec(*until, "sft", home=small.path)
    assert "no space left for checkpoint_sft" in error_message(failed)
    small.remount("size=64m")
    resumed = convrec(*until, "sft", home=small.path)
    assert resumed.returncode == 0, resumed.stderr
    assert "0 sent" in resumed.stdout
