"""`artifacts copy`: copies a warehouse file into a lake, with all ids, and compares the two.

Rows and files that the lake already has are not copied, so an interrupted copy can be resumed. The
file is only read, and locked against writers meanwhile.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from convrec.artifacts.ducklake.lake import Lake
from convrec.artifacts.store import Store
from convrec.artifacts.tables import ARTIFACT_TABLES, KINDS, sql_literal
from convrec.errors import InputError, WarehouseError

ROW_KEYS: dict[str, tuple[str, ...]] = {
    "llm_answers": ("request_key",),
    "llm_ledger": ("request_key", "created_at"),
    "llm_batches": ("batch_key",),
    "llm_batch_requests": ("batch_key", "request_key"),
    "llm_judged": ("judge_key", "pass", "request_key"),
    "embeddings": ("model", "text_key"),
    "current_artifacts": ("mark",),
    "runs": ("run_id",),
    "run_artifacts": ("run_id", "node", "artifact_id", "noted_at"),
    "catalog_changes": ("name", "version"),
    "catalog_versions": ("name", "version"),
    "pins": ("name",),
}
"""Columns that identify a row of the tables that do not belong to artifacts."""


def copy_warehouse(source: Store, target: Store) -> dict[str, int]:
    """Copy a warehouse file into a lake; returns table → copied rows, and the count of `files`.

    Raises WarehouseError if the lake lacks a row or file afterwards, because it had another one of
    the same name before.
    """
    lake = target.backend
    if not isinstance(lake, Lake) or isinstance(source.backend, Lake):
        raise InputError("only a warehouse file can be copied, and only into a lake")
    copied: dict[str, int] = {}
    with _attached(source, lake):
        copies = _copy_files(source, target, lake, copied)
        for header in source.headers():
            if target.find(header.ref.artifact_id) is None:
                for table, count in _copy_artifact(target, header.ref.artifact_id).items():
                    copied[table] = copied.get(table, 0) + count
        for table, keys in ROW_KEYS.items():
            if count := _copy_table(target, table, keys):
                copied[table] = count
        missing = _missing_rows(target) | _missing_files(source, lake, copies)
    if missing:
        listed = ", ".join(f"{count:,} of {name}" for name, count in missing.items())
        raise WarehouseError(
            f"{target.location} lacks rows or files of {source.location} after the copy: {listed}; "
            "it keeps what it had under the same name: compare both, or copy into an empty database"
        )
    return copied


@contextlib.contextmanager
def _attached(source: Store, lake: Lake) -> Iterator[None]:
    """Attach the file as `source` to the DuckDB instance of the lake, read-only."""
    lake.connection.call(f"ATTACH {sql_literal(str(source.path))} AS source (READ_ONLY)")
    try:
        yield
    finally:
        lake.connection.call("DETACH source")


def _copy_files(source: Store, target: Store, lake: Lake, copied: dict[str, int]) -> dict[str, str]:
    """Upload the files that the lake lacks; returns name → shared copy of all files."""
    with target.read_connection() as connection:
        copies = dict(connection.execute("SELECT name, file FROM kept_files").fetchall())
    for name in _file_names(source):
        if name not in copies:
            copies[name] = lake.upload(source.home / name, name)
            copied["files"] = copied.get("files", 0) + 1
            with target.transaction() as connection:
                lake.register(connection, name, copies[name])
    return copies


def _file_names(source: Store) -> Iterator[str]:
    """Names of the folders of artifacts and the files of published catalogs."""
    for header in source.headers():
        folder = source.folder(header.ref.artifact_id)
        if folder.is_dir():
            yield str(folder.relative_to(source.home))
    with source.read_connection() as connection:
        rows = connection.execute("SELECT file FROM catalog_versions ORDER BY file").fetchall()
    yield from (str(file) for (file,) in rows)


def _copy_artifact(target: Store, artifact_id: str) -> dict[str, int]:
    kind = artifact_id.rpartition("-")[0]
    copied = {}
    with target.transaction() as connection:
        for table in (kind, *ARTIFACT_TABLES):
            connection.execute(f'DELETE FROM "{table}" WHERE artifact_id = ?', [artifact_id])  # noqa: S608
            [(count,)] = connection.execute(
                f'INSERT INTO "{table}" BY NAME '  # noqa: S608
                f'SELECT * FROM source."{table}" WHERE artifact_id = ?',
                [artifact_id],
            ).fetchall()
            copied[table] = int(count)
    return {table: count for table, count in copied.items() if count}


def _copy_table(target: Store, table: str, keys: tuple[str, ...]) -> int:
    """Copy the rows of a table whose keys the lake does not have."""
    same = " AND ".join(f'existing."{key}" IS NOT DISTINCT FROM new."{key}"' for key in keys)
    with target.transaction() as connection:
        [(count,)] = connection.execute(
            f'INSERT INTO "{table}" BY NAME SELECT * FROM source."{table}" AS new '  # noqa: S608
            f'WHERE NOT EXISTS (SELECT 1 FROM "{table}" AS existing WHERE {same})'
        ).fetchall()
    return int(count)


def _missing_rows(target: Store) -> dict[str, int]:
    """Table → number of rows of the file that are not in the lake."""
    missing = {}
    with target.read_connection() as connection:
        for table in (*KINDS, *ARTIFACT_TABLES, *ROW_KEYS):
            described = connection.execute(f'DESCRIBE source."{table}"').fetchall()
            columns = ", ".join(f'"{name}"' for (name, *_) in described)
            [(count,)] = connection.execute(
                f'SELECT count(*) FROM (SELECT hash({columns}) AS digest FROM source."{table}") '  # noqa: S608
                f'ANTI JOIN (SELECT hash({columns}) AS digest FROM "{table}") USING (digest)'
            ).fetchall()
            if count:
                missing[table] = int(count)
    return missing


def _missing_files(source: Store, lake: Lake, copies: dict[str, str]) -> dict[str, int]:
    """Name → 1 for files that differ from their shared copy."""
    return {
        name: 1
        for name in _file_names(source)
        if not lake.blobs.matches(copies[name], source.home / name)
    }
