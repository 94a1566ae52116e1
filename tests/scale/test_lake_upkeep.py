"""Copying a file into a lake, its garbage collection, and forgetting."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from convrec.artifacts import ArtifactSpec, StepResult, Store
from convrec.artifacts.ducklake.lake import Lake
from convrec.artifacts.runs import RunArtifact, add_run_artifact, finish_run, start_run
from convrec.artifacts.tables import ARTIFACT_TABLES, KINDS
from convrec.catalog.publish import publish_catalog
from convrec.catalog.versions import newest_version
from convrec.config import ROOT
from convrec.errors import WarehouseError
from convrec.llm.response import Response
from convrec.llm.response_store import ResponseStore
from convrec.operations.forget import forget_conversations
from convrec.operations.gc import collect_garbage
from convrec.operations.migrate_to_ducklake import ROW_KEYS, copy_warehouse
from flows.cli import app
from tests.support.servers import Postgres

pytestmark = pytest.mark.scale

SECRET = "My neighbour Ottokar adores zeppelin films"
NOT_COPIED = {"meta", "kept_files"}


@pytest.fixture
def address(postgres_server: Postgres) -> str:
    name = f"test_{uuid.uuid4().hex[:12]}"
    return f"ducklake:postgres:{postgres_server.create_database(name)}"


@pytest.fixture
def full(tmp_path: Path) -> Store:
    """A warehouse file with rows in every kind of table and file that is copied."""
    store = Store(tmp_path / "home", ("", ""))
    bad = pl.DataFrame({"source": ["f"], "line": [1], "reason": ["r"], "raw": ["x"]})
    failed = pl.DataFrame({"context_id": ["c"], "reason": ["refused"]})
    curve = pl.DataFrame({"step": [1], "name": ["loss"], "value": [0.5]})
    built = StepResult(bad, {"bad": 1}, failures=failed, curves=curve)
    parent = store.put(ArtifactSpec("quarantine", "ingest", 1), built)
    scratch = store.make_scratch_folder()
    (scratch / "model.safetensors").write_text("weights")
    row = pl.DataFrame({"path": ["."], "base": ["tiny"], "parameters": [1], "manifest": ["{}"]})
    made = ArtifactSpec("checkpoint", "sft", 1, parents={"bad": parent.artifact_id})
    ref = store.put(made, StepResult(row), scratch=scratch)
    start_run(store, "run-1", flow="f", profile="demo", overrides={}, config={})
    add_run_artifact(
        store, "run-1", RunArtifact("checkpoint_sft", ref.artifact_id, "completed", 1.0)
    )
    finish_run(store, "run-1", "completed")
    store.pin("p", ref.artifact_id)
    body = json.dumps({"choices": [{"message": {"content": SECRET}}]})
    ResponseStore(store).add(
        [Response("k", "demo", "m", SECRET, body, "live", "2026-01-01T00:00:00.000000", usd=0.5)]
    )
    publish_catalog(ROOT / "catalog" / "demo.csv", "movies", store)
    return store


def test_a_file_is_copied_into_a_lake_completely(full: Store, address: str, tmp_path: Path) -> None:
    target = Store(tmp_path / "home", (address, str(tmp_path / "data")))
    copied = copy_warehouse(full, target)
    assert copied["files"] == 2
    assert (copied["artifacts"], copied["llm_answers"], copied["llm_ledger"]) == (2, 1, 1)
    assert copy_warehouse(full, target) == {}

    elsewhere = Store(tmp_path / "elsewhere", (address, ""))
    assert elsewhere.headers() == full.headers()
    assert elsewhere.pins() == full.pins()
    name = full.pins()["p"]
    assert elsewhere.find(name) == full.find(name)
    assert (elsewhere.fetch_folder(name) / "model.safetensors").read_text() == "weights"
    version = newest_version(elsewhere, "movies")
    assert version is not None
    assert version.path.read_bytes() == (ROOT / "catalog" / "demo.csv").read_bytes()


def test_every_table_is_copied(full: Store) -> None:
    with full.read_connection() as connection:
        tables = {
            name
            for (name,) in connection.execute(
                "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database()"
            ).fetchall()
        }
    assert tables - NOT_COPIED == {*KINDS, *ARTIFACT_TABLES, *ROW_KEYS}


def test_an_interrupted_copy_is_resumed(
    full: Store, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Store(tmp_path / "home", (address, str(tmp_path / "data")))
    with monkeypatch.context() as cut:
        cut.setattr("convrec.operations.migrate_to_ducklake._copy_table", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            copy_warehouse(full, target)
    copied = copy_warehouse(full, target)
    assert "files" not in copied
    assert copied["llm_answers"] == 1


def test_a_copy_reports_rows_that_differ_in_the_lake(
    full: Store, address: str, tmp_path: Path
) -> None:
    target = Store(tmp_path / "home", (address, str(tmp_path / "data")))
    copy_warehouse(full, target)
    full.pin("p", full.headers()[0].ref.artifact_id)
    with pytest.raises(WarehouseError, match="1 of pins"):
        copy_warehouse(full, target)


def test_the_copy_command(
    full: Store, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVREC_HOME", str(full.home))
    words = ["artifacts", "copy", "--to", address, "--data", str(tmp_path / "data")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "has every row and file" in result.output


@pytest.fixture
def lake(address: str, tmp_path: Path) -> Store:
    return Store(tmp_path / "home", (address, str(tmp_path / "data")))


def test_gc_deletes_unneeded_files_of_a_lake(lake: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convrec.artifacts.ducklake.lake.RETENTION_DAYS", 0.0)
    frame = pl.DataFrame({"path": ["r"], "sha256": ["s"]})
    refs = []
    for name in ("old", "kept"):
        scratch = lake.make_scratch_folder()
        (scratch / "report.html").write_text(name)
        made = ArtifactSpec("report", "evaluate", 1, {"name": name})
        refs.append(lake.put(made, StepResult(frame), scratch=scratch))
    lake.pin("p", refs[1].artifact_id)
    with lake.transaction() as connection:
        long_ago = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=3)
        connection.execute("UPDATE artifacts SET created_at = ?", [long_ago])
    assert isinstance(lake.backend, Lake)
    assert len(lake.backend.blobs.list_files()) == 2
    gone = collect_garbage(lake)
    assert [one.artifact_id for one in gone.artifacts] == [refs[0].artifact_id]
    assert len(lake.backend.blobs.list_files()) == 1
    assert lake.find(refs[1].artifact_id) == refs[1]
    assert (lake.fetch_folder(refs[1].artifact_id) / "report.html").read_text() == "kept"


def test_small_files_are_merged(lake: Store) -> None:
    frame = pl.DataFrame(
        {"source": ["f"] * 50, "line": range(50), "reason": ["r"] * 50, "raw": ["x"] * 50}
    )
    for number in range(6):
        lake.put(ArtifactSpec("quarantine", "ingest", 1, {"n": number}), StepResult(frame))

    def files() -> int:
        with lake.read_connection() as connection:
            return len(
                connection.execute(
                    "SELECT data_file FROM ducklake_list_files('lake', 'quarantine')"
                ).fetchall()
            )

    assert files() == 6
    assert isinstance(lake.backend, Lake)
    lake.backend.maintain()
    assert files() == 1
    assert all(lake.find(header.ref.artifact_id) for header in lake.headers())


@pytest.mark.parametrize("copies", [1, 300])
def test_a_forgotten_conversation_is_in_no_file_or_table(
    lake: Store, address: str, tmp_path: Path, copies: int
) -> None:
    """Few rows are stored in Postgres, many in Parquet files."""
    import psycopg

    bad = pl.DataFrame(
        {
            "source": ["f"] * copies,
            "line": range(copies),
            "reason": ["r"] * copies,
            "raw": [f"{SECRET} c1"] * copies,
        }
    )
    lake.put(ArtifactSpec("quarantine", "ingest", 1), StepResult(bad))
    response = json.dumps({"choices": [{"message": {"content": "fine"}}]})
    ResponseStore(lake).add(
        [
            Response(f"k{n}", "demo", "m", SECRET, response, "live", f"2026-01-01T00:00:00.{n:06}",
                   owner="c1" if n < copies else "c2")
            for n in range(2 * copies)
        ]
    )  # fmt: skip
    with lake.transaction() as connection:
        connection.execute("UPDATE llm_answers SET body = 'other' WHERE owner = 'c2'")

    def found() -> list[str]:
        data = [p for p in (tmp_path / "data").rglob("*") if p.is_file()]
        places = [str(p) for p in data if SECRET.encode() in p.read_bytes()]
        for p in data:
            if p.suffix == ".parquet" and SECRET in str(
                pl.read_parquet(p).to_dict(as_series=False)
            ):
                places.append(str(p))
        with psycopg.connect(address.removeprefix("ducklake:postgres:")) as session:
            tables = session.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            ).fetchall()
            for (table,) in tables:
                query = f'SELECT count(*) FROM "{table}" AS t WHERE t::text LIKE %s'
                if session.execute(query.encode(), [f"%{SECRET}%"]).fetchone() != (0,):
                    places.append(table)
                hidden = SECRET.encode().hex()
                if session.execute(query.encode(), [f"%{hidden}%"]).fetchone() != (0,):
                    places.append(table)
        return places

    assert found()
    forget_conversations(["c1"], lake)
    assert found() == []
    assert len(ResponseStore(lake).digests([f"k{n}" for n in range(2 * copies)])) == copies
    ResponseStore(lake).add(
        [Response("a", "demo", "m", "b", response, "live", "2026-01-02T00:00:00.0")]
    )
    assert set(ResponseStore(lake).digests(["a", f"k{copies}", "k0"])) == {"a", f"k{copies}"}


def test_a_purge_keeps_uncommitted_checkpoints(address: str, tmp_path: Path) -> None:
    lake = Store(tmp_path / "home", (address, str(tmp_path / "data"))).backend
    assert isinstance(lake, Lake)
    for name in ("checkpoint-a.1.tar", "report-b.2.tar"):
        (tmp_path / "data" / "files" / f"files.{name}").parent.mkdir(exist_ok=True)
        (tmp_path / "data" / "files" / f"files.{name}").write_text("x")
    lake.purge()
    assert set(lake.blobs.list_files()) == {"files.checkpoint-a.1.tar"}
