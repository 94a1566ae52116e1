"""The warehouse on DuckLake: concurrent and killed writers, a lost server, S3."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path

import duckdb
import polars as pl
import pytest

from convrec.artifacts import ArtifactSpec, StepResult, Store
from convrec.artifacts.ducklake.connection import is_transient
from convrec.artifacts.ducklake.lake import Lake
from convrec.artifacts.runs import RunArtifact, add_run_artifact, list_runs, start_run
from convrec.errors import WarehouseError
from convrec.llm.response import Response
from convrec.llm.response_store import ResponseStore
from tests.support.quarantine_rows import rows, spec
from tests.support.servers import Postgres, s3

pytestmark = pytest.mark.scale

WRITERS = 8
PER_WRITER = 3
"""Artifacts of each writer alone; all writers put as many common ones."""


@pytest.fixture(params=["folder", "s3"])
def lake(
    request: pytest.FixtureRequest,
    postgres_server: Postgres,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    """An empty lake in the environment, with its data in a folder or in S3."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    monkeypatch.setenv(
        "CONVREC_WAREHOUSE", f"ducklake:postgres:{postgres_server.create_database(name)}"
    )
    if request.param == "folder":
        monkeypatch.setenv("CONVREC_LAKE_DATA", str(tmp_path / "data"))
        yield "folder"
        return
    with s3("lake") as environment:
        for key, value in environment.items():
            monkeypatch.setenv(key, value)
        monkeypatch.setenv("CONVREC_LAKE_DATA", "s3://lake/team")
        yield "s3"


def response(key: str) -> Response:
    body = json.dumps({"choices": [{"message": {"content": key}}]})
    return Response(key, "demo", "m", "{}", body, "live", "2026-01-01T00:00:00.000000", usd=0.5)


def write(home: Path, number: int, barrier: Barrier) -> None:
    store = Store(home)
    responses = ResponseStore(store)
    barrier.wait(120)
    start_run(store, f"run-{number}", flow="f", profile="p", overrides={}, config={})
    for one in range(PER_WRITER):
        for name in (f"single-{number}-{one}", f"common-{one}"):
            ref = store.put(spec(name), rows(name))
            add_run_artifact(
                store, f"run-{number}", RunArtifact(name, ref.artifact_id, "completed", 0.0)
            )
        responses.add([response(f"single-{number}-{one}"), response(f"common-{one}")])


def check_rows(store: Store, numbers: range) -> None:
    """Everything that these writers wrote exists once and completely."""
    names = [f"single-{n}-{i}" for n in numbers for i in range(PER_WRITER)]
    names += [f"common-{i}" for i in range(PER_WRITER)]
    headers = {header.ref.artifact_id for header in store.headers()}
    assert {spec(name).artifact_id for name in names} <= headers
    assert len(store.headers()) == len(headers)
    for name in names:
        assert store.read(spec(name).artifact_id)["source"].to_list() == [name] * 40
    with store.read_connection() as connection:
        for table, key in (("llm_answers", "request_key"), ("artifacts", "artifact_id")):
            assert connection.execute(
                f"SELECT count(*) - count(DISTINCT {key}) FROM {table}"
            ).fetchone() == (0,)
        stray = connection.execute(
            "SELECT count(*) FROM quarantine ANTI JOIN artifacts USING (artifact_id)"
        ).fetchone()
    assert stray == (0,)
    assert set(ResponseStore(store).digests(names)) == set(names)
    counts = {run.run_id: len(run.artifacts) for run in list_runs(store)}
    assert [counts[f"run-{n}"] for n in numbers] == [2 * PER_WRITER] * len(numbers)


def test_eight_processes_write_at_once(lake: str, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(WRITERS)
    workers = [
        context.Process(target=write, args=(tmp_path / f"host-{n}", n, barrier))
        for n in range(WRITERS)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(400)
    assert [worker.exitcode for worker in workers] == [0] * WRITERS
    check_rows(Store(tmp_path / "reader"), range(WRITERS))


WRITE_AND_STOP = """
import os, signal, sys
from pathlib import Path
from convrec.artifacts import Store
from tests.support.quarantine_rows import rows, spec
store = Store(Path(sys.argv[1]))
with store.transaction(scope="dying") as connection:
    connection.execute("DELETE FROM quarantine")
    connection.register("built", rows("dying", 200_000).rows.with_row_index("row").to_arrow())
    connection.execute(
        "INSERT INTO quarantine "
        "SELECT 'quarantine-dying', row, source, line, reason, raw FROM built"
    )
    print("writing", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_a_killed_writer_leaves_nothing_and_blocks_no_one(lake: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    kept = store.put(spec("before"), rows("before"))
    dying = subprocess.Popen(
        [sys.executable, "-c", WRITE_AND_STOP, str(tmp_path / "other")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([".", *sys.path])},
    )
    assert dying.stdout is not None
    assert dying.stdout.readline() == b"writing\n"
    dying.send_signal(signal.SIGKILL)
    dying.wait(30)

    again = store.put(spec("after"), rows("after"))
    store.pin("p", again.artifact_id)
    assert store.find(kept.artifact_id) == kept
    with store.read_connection() as connection:
        assert connection.execute("SELECT count(*) FROM quarantine").fetchone() == (80,)


def test_nothing_is_lost_when_postgres_restarts(
    lake: str, postgres_server: Postgres, tmp_path: Path
) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    workers = [
        context.Process(target=write, args=(tmp_path / f"host-{n}", n, barrier)) for n in range(2)
    ]
    for worker in workers:
        worker.start()
    barrier.wait(120)
    for _ in range(3):
        time.sleep(1.5)
        postgres_server.control("restart")
    for number, worker in enumerate(workers):
        worker.join(400)
        if worker.exitcode == -signal.SIGABRT:  # see docs/guides/shared-warehouse.md
            arguments = (tmp_path / f"host-{number}", number, context.Barrier(1))
            worker = context.Process(target=write, args=arguments)
            worker.start()
            worker.join(400)
        assert worker.exitcode == 0
    check_rows(Store(tmp_path / "reader"), range(2))


def test_a_commit_whose_reply_is_lost_is_looked_up(
    lake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server commits but its reply is lost: the row exists once."""
    import duckdb

    store = Store(tmp_path / "home")
    assert isinstance(store.backend, Lake)
    lake_connection = store.backend.connection
    begin = lake_connection.begin

    class LostReply:
        def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
            self.connection = connection

        def __getattr__(self, name: str) -> object:
            return getattr(self.connection, name)

        def commit(self) -> None:
            self.connection.commit()
            raise duckdb.IOException("server closed the connection unexpectedly")

    with monkeypatch.context() as patch:
        patch.setattr(lake_connection, "begin", lambda: LostReply(begin()))
        add_run_artifact(store, "run", RunArtifact("n", "a", "completed", 0.0))
    with Store(tmp_path / "home").read_connection() as connection:
        assert connection.execute("SELECT count(*) FROM run_artifacts").fetchone() == (1,)


def test_files_are_shared_between_hosts(lake: str, tmp_path: Path) -> None:
    one, two = Store(tmp_path / "one"), Store(tmp_path / "two")
    made = ArtifactSpec("checkpoint", "sft", 1)
    row = pl.DataFrame({"path": ["."], "base": ["tiny"], "parameters": [1], "manifest": ["{}"]})

    def put(weights: str) -> str:
        scratch = one.make_scratch_folder()
        (scratch / "part").mkdir()
        (scratch / "part" / "model.safetensors").write_text(weights)
        return one.put(made, StepResult(row), scratch=scratch).artifact_id

    name = put("first")
    assert two.find(name) is not None
    assert (two.fetch_folder(name) / "part" / "model.safetensors").read_text() == "first"
    put("second")
    assert (two.fetch_folder(name) / "part" / "model.safetensors").read_text() == "second"
    assert (one.fetch_folder(name) / "part" / "model.safetensors").read_text() == "second"


def test_an_unreachable_server_is_a_warehouse_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convrec.artifacts.ducklake.connection.CONNECT_TIMEOUT", 0.5)
    address = "ducklake:postgres:host=127.0.0.1 port=1 password=geheim dbname=x"
    monkeypatch.setenv("CONVREC_WAREHOUSE", address)
    with pytest.raises(WarehouseError, match=r"could not be reached.*Connection refused") as raised:
        Store(tmp_path)
    assert "geheim" not in str(raised.value)


def test_a_new_lake_without_a_data_path_is_refused(
    postgres_server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = postgres_server.create_database(f"test_{uuid.uuid4().hex[:12]}")
    monkeypatch.setenv("CONVREC_WAREHOUSE", f"ducklake:postgres:{address}")
    with pytest.raises(WarehouseError, match="CONVREC_LAKE_DATA"):
        Store(tmp_path)


def test_many_threads_of_one_process_share_the_lake(lake: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    failed: list[BaseException] = []

    def put(number: int) -> None:
        try:
            store.put(spec(f"t-{number}"), rows(f"t-{number}"))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=put, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(store.headers()) == 6


def test_a_missing_bucket_is_a_warehouse_error(
    postgres_server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = postgres_server.create_database(f"test_{uuid.uuid4().hex[:12]}")
    monkeypatch.setenv("CONVREC_WAREHOUSE", f"ducklake:postgres:{address}")
    monkeypatch.setenv("CONVREC_LAKE_DATA", "s3://nowhere/team")
    with s3("lake") as environment:
        for key, value in environment.items():
            monkeypatch.setenv(key, value)
        store = Store(tmp_path / "home")
        with pytest.raises(WarehouseError, match=r"cannot be used.*nowhere"):
            store.put(spec("a"), rows("a"))
        assert store.headers() == []


def test_a_data_path_other_than_that_of_the_lake_is_refused(
    lake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(tmp_path / "home")
    monkeypatch.setenv("CONVREC_LAKE_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(WarehouseError, match=r"cannot be used.*elsewhere"):
        Store(tmp_path / "home")


def test_a_transaction_aborted_by_a_lost_server_is_transient() -> None:
    """DuckLake's message after a restart of Postgres on a busy machine."""
    message = "Failed to get global stats information from DuckLake: Current transaction is aborted"
    assert is_transient(duckdb.TransactionException(f"TransactionContext Error: {message}"))
    assert not is_transient(duckdb.CatalogException("Table with name x does not exist"))


def test_a_server_without_free_connections_is_retried(
    postgres_server: Postgres, tmp_path: Path
) -> None:
    import psycopg

    conninfo = postgres_server.create_database(f"test_{uuid.uuid4().hex[:12]}")
    store = Store(tmp_path / "home", (f"ducklake:postgres:{conninfo}", str(tmp_path / "data")))
    taken: list[psycopg.Connection] = []

    def fill() -> None:
        while True:
            taken.append(psycopg.connect(conninfo))

    with pytest.raises(psycopg.OperationalError, match="too many clients"):
        fill()
    freeing = threading.Timer(2, lambda: [session.close() for session in taken])
    freeing.start()
    store.pin("p", "a")
    freeing.join()
    assert store.pins() == {"p": "a"}
