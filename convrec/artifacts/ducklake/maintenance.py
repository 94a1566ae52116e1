"""What a lake needs from time to time: small files merged, old states and nobody's files removed.

A lake keeps its earlier states, and the files that only those need, until they are expired.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from convrec.artifacts.ducklake.connection import FILES, Lake

if TYPE_CHECKING:
    import duckdb

RETENTION_DAYS = 1.0
"""Earlier states stay so long, for blocks that still read them; nobody's files too."""

_CALLS = (
    "CALL ducklake_flush_inlined_data('lake')",
    "CALL ducklake_rewrite_data_files('lake', delete_threshold => 0)",
    "CALL ducklake_merge_adjacent_files('lake')",
)

_NO_TEXTS = b"""
UPDATE ducklake_table_column_stats SET min_value = NULL, max_value = NULL
WHERE (table_id, column_id) IN (
    SELECT table_id, column_id FROM ducklake_column WHERE column_type = 'varchar')
"""
"""DuckLake remembers the least and the greatest value that a column ever had: whole texts."""


def maintain(lake: Lake) -> None:
    """Merge small files, and remove earlier states and files that nothing has named for a day."""
    _point_only_at_artifacts(lake)
    for call in _CALLS:
        lake.call(call)
    old = f"now() - INTERVAL {RETENTION_DAYS * 24:.0f} HOUR"
    lake.call(f"CALL ducklake_expire_snapshots('lake', older_than => {old})")
    lake.call(f"CALL ducklake_cleanup_old_files('lake', older_than => {old})")
    lake.call(f"CALL ducklake_delete_orphaned_files('lake', older_than => {old})")
    _remove_unnamed(lake, before=datetime.now(UTC) - timedelta(days=RETENTION_DAYS))


def named_files(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """The files of the depot that something names."""
    return {file for (file,) in connection.execute("SELECT file FROM kept_files").fetchall()}


def purge(lake: Lake, named: Collection[str] = ()) -> None:
    """Remove every earlier state at once, so that deleted rows are in no file and no table.

    Files that nothing names any more go at once if they were `named` before, or are reports; one
    that nothing has named yet may be a checkpoint that another host is about to commit. A block
    that reads an earlier state at that moment fails, and can be run again.
    """
    _point_only_at_artifacts(lake)
    for call in _CALLS:
        lake.call(call)
    lake.call("CALL ducklake_expire_snapshots('lake', older_than => now())")
    lake.call("CALL ducklake_cleanup_old_files('lake', cleanup_all => true)")
    _remove_unnamed(lake, before=datetime.now(UTC) - timedelta(days=RETENTION_DAYS), at_once=named)
    with lake.alone() as session:
        session.execute(_NO_TEXTS)


def _point_only_at_artifacts(lake: Lake) -> None:
    """Take away the names of files whose artifacts are gone."""
    with lake.transaction() as connection:
        connection.execute(
            "DELETE FROM kept_files WHERE starts_with(name, $1) "
            "AND name NOT IN (SELECT $1 || artifact_id FROM artifacts)",
            [f"{FILES}/"],
        )


def _remove_unnamed(lake: Lake, *, before: datetime, at_once: Collection[str] = ()) -> None:
    files = lake.depot.files()
    with lake.read() as connection:
        named = named_files(connection)
    for file, written in files.items():
        quick = file in at_once or file.startswith(f"{FILES}.report-")
        if file not in named and (quick or written < before):
            lake.depot.remove(file)
