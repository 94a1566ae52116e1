"""The schema of a warehouse, the files of a home, and the format of the spool."""

from __future__ import annotations

import contextlib
from pathlib import Path

import duckdb

from tests.golden.access import convrec
from tests.golden.conftest import Golden
from tests.golden.worlds import Demo, plain_name, rows

COLUMNS = """
SELECT table_name, column_name, data_type, is_nullable, column_default
FROM information_schema.columns ORDER BY table_name, ordinal_position
"""


def test_the_schema_of_a_fresh_warehouse(golden: Golden, tmp_path: Path) -> None:
    assert convrec("artifacts", "list", home=tmp_path).code == 0
    tables: dict[str, list[list[object]]] = {}
    for table, *column in rows(tmp_path, COLUMNS):
        tables.setdefault(table, []).append(column)
    meta = dict(rows(tmp_path, "SELECT key, value FROM meta"))
    assert len(meta.pop("store_id")) == 36
    path = str(tmp_path / "warehouse.duckdb")
    with contextlib.closing(duckdb.connect(path, read_only=True)) as connection:
        name = "SELECT tags FROM duckdb_databases() WHERE path IS NOT NULL"
        [(tags,)] = connection.execute(name).fetchall()
        others = "SELECT count(*) FROM duckdb_constraints()"
        [(constraints,)] = connection.execute(others).fetchall()
    found = {"tables": tables, "meta": meta, "file": tags, "constraints": constraints}
    golden("schema", found)


def test_the_files_of_a_home(golden: Golden, demo: Demo) -> None:
    left = {
        "/".join(plain_name(part) for part in path.relative_to(demo.home).parts)
        for path in demo.home.rglob("*")
        if path.is_file()
    }
    opened = {"/".join(map(plain_name, name.split("/"))) for name in demo.opened}
    spool = sorted(name for name in opened if name.startswith("spool"))
    golden("home", {"left": sorted(left), "spool": spool})


def test_the_records_of_the_spool(golden: Golden, demo: Demo) -> None:
    assert any(name.endswith(".jsonl") for name in demo.spool)
    golden("spool", demo.spool)


def test_claims_name_the_requests_of_the_run(demo: Demo) -> None:
    """Every request is claimed and spooled under its key."""
    sent = {key for (key,) in rows(demo.home, "SELECT request_key FROM llm_ledger")}
    stored = {key for (key,) in rows(demo.home, "SELECT request_key FROM llm_answers")}
    assert sent == stored == demo.claimed == demo.spooled
