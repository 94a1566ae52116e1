"""Disks and warehouses that fail: one clear sentence, and nothing that was paid for is lost."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from benchmarks.chaos_requests import Server
from convrec.artifacts import ArtifactRef, ArtifactSpec, StepResult, Store, database_file
from convrec.errors import WarehouseError
from flows import cli

from .conftest import ROOT, sentence
from .pipeline import TINY, given, stored

if TYPE_CHECKING:
    from .conftest import Convrec, Disk


def put(store: Store, name: str, rows: int = 1) -> ArtifactRef:
    """Store rows that do not compress."""
    reasons = [json.dumps([name, row, hash((name, row))]) for row in range(rows)]
    frame = pl.DataFrame({"source": "f", "line": range(rows), "reason": reasons, "raw": reasons})
    return store.put(ArtifactSpec("quarantine", "ingest", 1, {"name": name}), StepResult(frame))


def read_all(home: Path) -> None:
    store = Store(home)
    for header in store.headers():
        store.read(header.ref.artifact_id)


def listed(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What `convrec artifacts list` says of a warehouse that it cannot use."""
    monkeypatch.setenv("CONVREC_HOME", str(home))
    monkeypatch.setattr(sys, "argv", ["convrec", "artifacts", "list"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.scale
def test_a_disk_that_fills_while_answers_arrive_loses_none(
    tmp_path: Path, disk: Callable[[str], Disk], convrec: Convrec
) -> None:
    small = disk("40m")
    home = small.path / "home"
    (tmp_path / "server").mkdir()
    server = Server(tmp_path / "server", "", 0)
    contexts = json.dumps({"train": 120, "validation": 4, "test": 4})
    command = ["run", "demo", "--until", "recommend", "--set", f"llm.base_url={server.url}"]
    command += ["--set", "llm.endpoint=demo", "--set", f"ingest.contexts={contexts}"]
    filled: list[Path] = []

    def fill() -> None:
        deadline = time.monotonic() + 300
        while len(server.lines()) < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        filled.append(small.fill())

    filler = threading.Thread(target=fill)
    try:
        filler.start()
        said = sentence(convrec(*command, home=home))
        filler.join()
        assert "free some" in said
        answered = {line["key"] for line in server.lines()}
        assert 20 <= len(answered) < 128  # it stopped in the middle
        assert stored(home) == answered  # all that was paid for is there

        filled[0].unlink()
        assert convrec(*command, home=home).returncode == 0
        sent = [line["key"] for line in server.lines()]
        assert len(sent) == len(set(sent)) == 128
    finally:
        server.close()


def test_a_full_disk_refuses_an_artifact_and_keeps_the_others(disk: Callable[[str], Disk]) -> None:
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
def test_a_run_is_not_begun_on_a_full_disk(
    name: str, disk: Callable[[str], Disk], convrec: Convrec, tmp_path: Path
) -> None:
    small = disk("1m")
    small.fill()
    ended = convrec("run", "demo", home=tmp_path / "home", **{name: str(small.path)})
    assert f"no space left in {small.path}; free some" in sentence(ended)
    assert f"or set {name} to" in sentence(ended)


def test_a_read_only_warehouse_can_be_read_and_says_what_it_needs(
    disk: Callable[[str], Disk],
) -> None:
    small = disk("16m")
    store = Store(small.path / "home")
    ref = put(store, "a")
    small.remount("ro")
    assert Store(store.home).read(ref.artifact_id).height == 1
    with pytest.raises(WarehouseError, match="cannot be written; give this user"):
        put(store, "b")


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.9])
def test_a_truncated_warehouse_is_refused_and_untouched(store: Store, share: float) -> None:
    for number in range(4):
        put(store, str(number), 3000)
    whole = store.path.read_bytes()
    part = whole[: int(len(whole) * share)]
    store.path.write_bytes(part)
    with pytest.raises(WarehouseError, match="stays untouched"):
        read_all(store.home)
    with pytest.raises(WarehouseError, match="stays untouched"):
        put(store, "new")
    assert store.path.read_bytes() == part


def test_the_command_line_ends_with_the_sentence(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = store.path.read_bytes()
    store.path.write_bytes(whole[:9000])
    assert "is damaged" in listed(store.home, monkeypatch, capsys)
    store.path.write_bytes(whole)
    with store.transaction() as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    assert "was created by a newer convrec" in listed(store.home, monkeypatch, capsys)


def test_a_warehouse_that_stays_locked_is_given_up(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(database_file, "LOCK_TIMEOUT", 0.2)
    hold = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('mine', flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", hold, str(store.path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "mine\n"
        assert "was locked by another process" in listed(store.home, monkeypatch, capsys)
    finally:
        other.communicate("\n")
    assert put(store, "a").rows == 1  # as soon as that process has ended


def test_a_warehouse_that_vanishes_is_not_silently_begun_anew(store: Store) -> None:
    ref = put(store, "a")
    away = store.path.rename(store.home / "away")
    for act in (lambda: store.find(ref.artifact_id), lambda: put(store, "b")):
        with pytest.raises(WarehouseError, match="was moved or deleted while convrec ran"):
            act()
    away.rename(store.path)
    assert store.find(ref.artifact_id) == ref


@pytest.mark.timeout(1800)
def test_a_disk_that_fills_while_a_model_is_trained_keeps_the_data_and_goes_on(
    disk: Callable[[str], Disk], convrec: Convrec
) -> None:
    """The model, the optimizer and what is saved of them are some 15 MB."""
    small = disk("64m")
    settings = {**TINY, "model.hidden": 128, "model.layers": 2, "model.vocabulary": 2000}
    until = ("run", "demo", *given(settings), "--until")
    built = convrec(*until, "adjust", home=small.path)
    assert built.returncode == 0, built.stderr
    small.remount(f"size={shutil.disk_usage(small.path).used // 2**20 + 3}m")
    ended = convrec(*until, "sft", home=small.path)
    assert "no space left for checkpoint_sft" in sentence(ended)
    small.remount("size=64m")
    went_on = convrec(*until, "sft", home=small.path)
    assert went_on.returncode == 0, went_on.stderr
    assert "0 sent" in went_on.stdout
