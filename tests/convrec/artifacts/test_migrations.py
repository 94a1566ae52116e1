from __future__ import annotations

from pathlib import Path

import duckdb
import polars as pl
import pytest

from convrec.artifacts import ArtifactSpec, StepResult, Store
from convrec.artifacts.migrations import MIGRATIONS
from convrec.artifacts.tables import SCHEMA_VERSION, creation_sql
from convrec.errors import WarehouseError

VERSION_1 = """
CREATE TABLE meta (key VARCHAR, value VARCHAR);
INSERT INTO meta VALUES ('convrec', 'warehouse'), ('schema_version', '1');
CREATE TABLE failures (artifact_id VARCHAR, context_id VARCHAR, reason VARCHAR);
INSERT INTO failures VALUES ('teacher_lists-1', 'c1', 'timeout');
CREATE TABLE llm_answers (
    request_key VARCHAR, endpoint VARCHAR, model VARCHAR, body VARCHAR, response VARCHAR,
    response_digest VARCHAR, origin VARCHAR, created_at TIMESTAMP
);
INSERT INTO llm_answers VALUES ('k', 'demo', 'm', '{}', '{}', 'd', 'live', '2026-11-22 10:00:00');
CREATE TABLE llm_ledger (
    request_key VARCHAR, run VARCHAR, stage VARCHAR, endpoint VARCHAR, model VARCHAR,
    prompt_tokens BIGINT, cached_tokens BIGINT, completion_tokens BIGINT, usd DOUBLE,
    created_at TIMESTAMP
);
INSERT INTO llm_ledger VALUES
    ('k', 'r', 'recommend', 'demo', 'm', 10, 0, 5, 0.5, '2026-11-22 10:00:00');
CREATE TABLE candidates (
    artifact_id VARCHAR, "row" BIGINT, context_id VARCHAR, rank INTEGER, item_id VARCHAR,
    score DOUBLE, identity DOUBLE, similarity DOUBLE, conversation DOUBLE, linked_from VARCHAR,
    link_method VARCHAR, link_score DOUBLE
);
CREATE TABLE judgments (
    artifact_id VARCHAR, "row" BIGINT, context_id VARCHAR, item_id VARCHAR, rating INTEGER,
    position INTEGER, score DOUBLE
);
INSERT INTO judgments VALUES ('judgments-1', 0, 'c1', 'i1', 2, 3, 0.5);
CREATE TABLE metrics (
    artifact_id VARCHAR, "row" BIGINT, system VARCHAR, versus VARCHAR, protocol VARCHAR,
    metric VARCHAR, value DOUBLE, low DOUBLE, high DOUBLE, n INTEGER
);
CREATE TABLE artifacts (
    artifact_id VARCHAR, kind VARCHAR, stage VARCHAR, version INTEGER, config VARCHAR,
    inputs VARCHAR, rows BIGINT, partial BOOLEAN, figures VARCHAR, seconds DOUBLE,
    created_at TIMESTAMP, flow_run_id VARCHAR, task_run_id VARCHAR
);
INSERT INTO artifacts VALUES
    ('judgments-1', 'judgments', 'reflect', 1, '{}', '{}', 1, false, '{}', 2.5,
     '2026-11-22 10:00:00', 'r', 't'),
    ('catalog-1', 'catalog', 'ingest', 1, '{}', '{}', 1, false, '{}', 0.5,
     '2026-11-22 09:00:00', '', '');
"""


def _columns(path: Path) -> dict[str, set[str]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        rows = connection.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns"
        ).fetchall()
    tables: dict[str, set[str]] = {}
    for table, column, kind in rows:
        tables.setdefault(table, set()).add(f"{column} {kind}")
    return tables


def test_a_warehouse_of_version_1_is_migrated(tmp_path: Path) -> None:
    old, new = old_warehouse(tmp_path / "old"), tmp_path / "new"
    store = Store(old)
    assert store.failures("teacher_lists-1").rows() == [("c1", "timeout", False)]
    with store.read_connection() as connection:
        ledger = connection.execute("SELECT usd, origin, reasoning_tokens FROM llm_ledger")
        assert ledger.fetchall() == [(0.5, "live", 0)]
        judged = connection.execute("SELECT rating, ratings, positions FROM judgments")
        assert judged.fetchall() == [(2.0, [2], [3])]
        runs = connection.execute("SELECT run_id, state, started_at::VARCHAR FROM runs")
        assert runs.fetchall() == [("r", "unrecorded", "2026-11-22 10:00:00")]
        made = connection.execute("SELECT run_id, artifact_id, state FROM run_artifacts")
        assert made.fetchall() == [("r", "judgments-1", "completed")]
        version = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'")
        assert version.fetchone() == (str(SCHEMA_VERSION),)
    Store(new)
    fresh, migrated = _columns(new / "warehouse.duckdb"), _columns(old / "warehouse.duckdb")
    for table, columns in migrated.items():
        assert columns == fresh[table], table


def old_warehouse(folder: Path) -> Path:
    folder.mkdir()
    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        connection.execute(VERSION_1)
    return folder


def test_a_failed_migration_keeps_the_old_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = old_warehouse(tmp_path / "old")
    before = _columns(home / "warehouse.duckdb")
    with monkeypatch.context() as patch:
        patch.setitem(MIGRATIONS, 4, f"{MIGRATIONS[4]} ALTER TABLE no_such_table ADD COLUMN x INT;")
        with pytest.raises(WarehouseError, match="from schema 1 failed at 4"):
            Store(home)
    assert _columns(home / "warehouse.duckdb") == before
    with duckdb.connect(str(home / "warehouse.duckdb"), read_only=True) as connection:
        version = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'")
        assert version.fetchone() == ("1",)
    assert Store(home).failures("teacher_lists-1").rows() == [("c1", "timeout", False)]


def test_every_version_has_a_migration() -> None:
    assert sorted(MIGRATIONS) == list(range(2, SCHEMA_VERSION + 1))


def test_judged_pairs_become_one_row_per_request(tmp_path: Path) -> None:
    """A pair that was noted for another request leaves its place empty."""
    home = old_warehouse(tmp_path / "old")
    with duckdb.connect(str(home / "warehouse.duckdb")) as connection:
        for number in range(2, 8):
            connection.execute(MIGRATIONS[number])
        connection.execute("UPDATE meta SET value = '7' WHERE key = 'schema_version'")
        connection.execute(
            "INSERT INTO llm_judged (judge_key, item, pass, position, shown, request_key, "
            "context_id) VALUES ('j', 'Ronin', 1, 3, 3, 'r', 'c'), ('j', 'Heat', 1, 1, 3, 'r', 'c')"
            ", ('j', 'Heat', 2, 1, 1, 's', 'c'), ('k', 'Heat', 1, 1, 1, 't', 'd')"
        )
    with Store(home).read_connection() as connection:
        query = (
            "SELECT judge_key, pass, items, request_key, context_id FROM llm_judged ORDER BY ALL"
        )
        assert connection.execute(query).fetchall() == [
            ("j", 1, ["Heat", None, "Ronin"], "r", "c"),
            ("j", 2, ["Heat"], "s", "c"),
            ("k", 1, ["Heat"], "t", "d"),
        ]


def storage(path: Path) -> str:
    with duckdb.connect(str(path), read_only=True) as connection:
        query = "SELECT tags['storage_version'] FROM duckdb_databases() WHERE path IS NOT NULL"
        return str(connection.execute(query).fetchall()[0][0])


def test_a_file_in_an_older_format_is_converted(tmp_path: Path) -> None:
    old = tmp_path / "warehouse.duckdb"
    with duckdb.connect(str(old)) as connection:
        connection.execute(creation_sql())
    assert storage(old) < "v1.3"
    store = Store(tmp_path, ("", ""))
    assert store.pins() == {}
    assert storage(old) < "v1.3"
    rows = pl.DataFrame({"item_id": ["i"], "weight": [1.0], "bias": [0.5]})
    ref = store.put(ArtifactSpec("adjustment", "adjust", 1), StepResult(rows))
    assert store.read(ref.artifact_id).equals(rows)
    assert storage(old) == storage(Store(tmp_path / "new", ("", "")).path) == "v1.3.0+"


def test_a_file_in_a_newer_format_is_refused(tmp_path: Path) -> None:
    new = tmp_path / "warehouse.duckdb"
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{new}' AS made (STORAGE_VERSION 'latest'); USE made")
        connection.execute(creation_sql())
        connection.execute("USE memory; DETACH made")
    store = Store(tmp_path, ("", ""))
    with pytest.raises(WarehouseError, match=r"newer storage format .* upgrade convrec"):
        store.pin("name", "id")
    assert storage(new) > "v1.3.0+"
