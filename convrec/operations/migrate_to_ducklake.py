"""`artifacts copy`: a warehouse file moves into a lake, ids and all, and is compared afterwards.

What the lake has already stays as it is, so that a copy which was cut off goes on where it ended.
The file is read only, and nobody writes to it meanwhile.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from convrec.artifacts.ducklake.lake import Lake
from convrec.errors import InputError, WarehouseError

if TYPE_CHECKING:
    from convrec.artifacts.store import Store

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
"""What makes a row of the other tables the same row: one that the lake has is not copied."""


def copy_warehouse(source: Store, target: Store) -> dict[str, int]:
    """Copy all that a file has into a lake; what was copied: rows by table, and `files`.

    Raises WarehouseError where the lake does not hold every row and file afterwards, as when it had
    others of the same name before.
    """
    from convrec.artifacts.tables import ARTIFACT_TABLES, KINDS

    copied: dict[str, int] = {}
    lake = target.backend
    if not isinstance(lake, Lake) or isinstance(source.backend, Lake):
        raise InputError("a warehouse file is copied into a lake; give --to ducklake:postgres:...")
    with _attached(source, lake):
        with target.read_connection() as connection:
            files = connection.execute("SELECT name, file FROM kept_files").fetchall()
        kept = {str(name): str(file) for name, file in files}
        for name in _wanted_files(source):
            if name not in kept:
                kept[name] = lake.upload(source.home / name, name)
                copied["files"] = copied.get("files", 0) + 1
                with target.transaction() as connection:
                    lake.register(connection, name, kept[name])
        for header in source.headers():
            if target.find(header.ref.artifact_id) is None:
                for table, count in _copy_artifact(target, header.ref.artifact_id).items():
                    copied[table] = copied.get(table, 0) + count
        for table, keys in ROW_KEYS.items():
            if count := _copy_table(target, table, keys):
                copied[table] = count
        _verify(source, target, [*KINDS, *ARTIFACT_TABLES, *ROW_KEYS], kept)
    return copied


@contextlib.contextmanager
def _attached(source: Store, lake: Lake) -> Iterator[None]:
    """The file as `source` beside the lake, for reading."""
    from convrec.artifacts.tables import sql_literal

    lake.connection.call(f"ATTACH {sql_literal(str(source.path))} AS source (READ_ONLY)")
    try:
        yield
    finally:
        lake.connection.call("DETACH source")


def _wanted_files(source: Store) -> Iterator[str]:
    """Names of folders and files that artifacts and published catalogs consist of."""
    for header in source.headers():
        if source.folder(header.ref.artifact_id).is_dir():
            yield f"files/{header.ref.artifact_id}"
    with source.read_connection() as connection:
        rows = connection.execute("SELECT file FROM catalog_versions ORDER BY file").fetchall()
    yield from (str(file) for (file,) in rows)


def _copy_artifact(target: Store, artifact_id: str) -> dict[str, int]:
    from convrec.artifacts.tables import ARTIFACT_TABLES

    kind = artifact_id.rpartition("-")[0]
    copied = {}
    with target.transaction() as connection:
        for table in (kind, *ARTIFACT_TABLES):
            connection.execute(f'DELETE FROM "{table}" WHERE artifact_id = ?', [artifact_id])  # noqa: S608
            done = connection.execute(
                f'INSERT INTO "{table}" BY NAME '  # noqa: S608
                f'SELECT * FROM source."{table}" WHERE artifact_id = ?',
                [artifact_id],
            ).fetchone()
            copied[table] = int(done[0]) if done else 0
    return {table: count for table, count in copied.items() if count}


def _copy_table(target: Store, table: str, keys: tuple[str, ...]) -> int:
    same = " AND ".join(f'known."{key}" IS NOT DISTINCT FROM moved."{key}"' for key in keys)
    with target.transaction() as connection:
        done = connection.execute(
            f'INSERT INTO "{table}" BY NAME SELECT * FROM source."{table}" AS moved '  # noqa: S608
            f'WHERE NOT EXISTS (SELECT 1 FROM "{table}" AS known WHERE {same})'
        ).fetchone()
    return int(done[0]) if done else 0


def _verify(source: Store, target: Store, tables: list[str], kept: dict[str, str]) -> None:
    """Compare every row and every file. Raises WarehouseError where the lake lacks one."""
    lacking = {}
    with target.read_connection() as connection:
        for table in tables:
            columns = ", ".join(
                f'"{name}"'
                for (name, *_) in connection.execute(f'DESCRIBE source."{table}"').fetchall()
            )
            found = connection.execute(
                f'SELECT count(*) FROM (SELECT hash({columns}) AS mark FROM source."{table}") '  # noqa: S608
                f'ANTI JOIN (SELECT hash({columns}) AS mark FROM "{table}") USING (mark)'
            ).fetchone()
            if found and found[0]:
                lacking[table] = int(found[0])
    assert isinstance(target.backend, Lake)
    for name in _wanted_files(source):
        if not target.backend.blobs.matches(kept[name], source.home / name):
            lacking[name] = 1
    if lacking:
        told = ", ".join(f"{count:,} of {name}" for name, count in lacking.items())
        raise WarehouseError(
            f"{target.location} lacks rows or files of {source.location} after the copy: {told}; where "
            "it had others of the same name before, it kept those: look at both, or copy into an "
            "empty database"
        )
