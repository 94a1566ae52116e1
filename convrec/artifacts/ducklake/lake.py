"""The warehouse as a lake, which several hosts share: DuckLake on PostgreSQL and Parquet files.

DuckLake has no unique constraints. Advisory locks of Postgres, which end with their session, take
the place of the file lock: a transaction runs alone, or together with those of other scopes. A
conflict that DuckLake still finds, or a lost server, ends the block with CommitError, and
`with_retries` runs it again. Each transaction carries a unique message, by which a commit whose
reply was lost is looked up.

DuckLake keeps earlier states, and the files that only those need, until they expire.
"""

from __future__ import annotations

import contextlib
import functools
import uuid
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from convrec.artifacts.backend import FILES_FOLDER, Backend, WriteMode
from convrec.artifacts.ducklake.blobs import MARKER_FILE, BlobStore
from convrec.artifacts.ducklake.claims import LakeClaims
from convrec.artifacts.ducklake.connection import TABLES_FOLDER, LakeConnection
from convrec.artifacts.identity import file_digest
from convrec.artifacts.tables import creation_sql
from convrec.errors import CommitError

RETENTION_DAYS = 1.0
"""How long earlier states stay for blocks that still read them; also files without a name."""

_SHARED_FILES_TABLE = "CREATE TABLE kept_files (name VARCHAR, file VARCHAR);\n"
"""Which shared copy a name like `files/checkpoint-1f...` refers to."""

_COMPACTION = (
    "CALL ducklake_flush_inlined_data('lake')",
    "CALL ducklake_rewrite_data_files('lake', delete_threshold => 0)",
    "CALL ducklake_merge_adjacent_files('lake')",
)

_CLEAR_TEXT_STATISTICS = b"""
UPDATE ducklake_table_column_stats SET min_value = NULL, max_value = NULL
WHERE (table_id, column_id) IN (
    SELECT table_id, column_id FROM ducklake_column WHERE column_type = 'varchar')
"""
"""DuckLake keeps the smallest and largest value that a column ever had, which are whole texts."""


@functools.cache
def open_lake(address: str, data: str, process: int) -> Lake:
    """The lake at an address, one object per process. Raises WarehouseError."""
    return Lake(LakeConnection(address, data))


class Lake(Backend):
    """A lake: rows in DuckLake, shared copies of files in a BlobStore next to its Parquet files."""

    def __init__(self, connection: LakeConnection) -> None:
        self.connection = connection
        self.location = connection.location
        self._is_created = False

    # -- rows ----------------------------------------------------------------------------------

    def create(self) -> None:
        """Create the lake and its tables if they do not exist. Raises WarehouseError."""
        if self._is_created:
            return
        if not (self.connection.when_available(self._exists) and self._has_tables()):
            with self.connection.write_lock():
                self.connection.when_available(lambda: self.connection.attach(create=True))
                if not self._has_tables():
                    with contextlib.closing(self.connection.cursor()) as connection:
                        connection.begin()
                        connection.execute(creation_sql() + _SHARED_FILES_TABLE)
                        connection.commit()
        self._is_created = True

    def _exists(self) -> bool:
        try:
            self.connection.attach()
        except duckdb.InvalidInputException as error:
            if "explicitly disabled" not in str(error):
                raise
            return False
        return True

    def _has_tables(self) -> bool:
        with contextlib.closing(self.connection.cursor()) as connection:
            return connection.execute(
                "SELECT count(*) FROM duckdb_tables() WHERE database_name = 'lake'"
            ).fetchone() != (0,)

    @contextlib.contextmanager
    def read(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that sees one state of the lake for the length of the block."""
        begin = self.connection.when_available(self.connection.begin)
        with contextlib.closing(begin) as connection:
            try:
                yield connection
            except duckdb.Error as error:
                raise self.connection.translate(error) from None

    @contextlib.contextmanager
    def transaction(
        self, mode: WriteMode = WriteMode.DEFAULT, scope: str = ""
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection inside one transaction; those of different scopes run at the same time.

        Raises CommitError if nothing was committed and the block can be tried again.
        """
        lake, message = self.connection, uuid.uuid4().hex
        with contextlib.ExitStack() as stack:
            lock = stack.enter_context(lake.write_lock(scope))
            connection = stack.enter_context(contextlib.closing(lake.when_available(lake.begin)))
            try:
                connection.execute(
                    "CALL ducklake_set_commit_message('lake', 'convrec', ?)", [message]
                )
                yield connection
                lock.execute("SELECT 1")  # fails if the lock was lost with its session
                connection.commit()
            except (duckdb.Error, lake.psycopg.Error) as error:
                with contextlib.suppress(duckdb.Error):
                    connection.rollback()
                translated = lake.translate(error)
                if isinstance(translated, CommitError) and lake.when_available(
                    lambda: self._is_committed(message)
                ):
                    return
                raise translated from None

    def _is_committed(self, message: str) -> bool:
        with self.connection.open_session() as session:
            return session.execute(
                "SELECT count(*) FROM ducklake_snapshot_changes WHERE commit_message = %s",
                [message],
            ).fetchone() != (0,)

    @contextlib.contextmanager
    def erase_transaction(self, *, dry_run: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        """A transaction after which every earlier state is purged; a dry run only reads."""
        with self.read() if dry_run else self.transaction() as connection:
            registered = _registered_copies(connection)
            yield connection
        if not dry_run:
            self.purge(registered)

    # -- files ---------------------------------------------------------------------------------

    @functools.cached_property
    def blobs(self) -> BlobStore:
        """Where the shared copies of files are."""
        with self.read() as connection:
            [(path,)] = connection.execute(
                "SELECT value FROM __ducklake_metadata_lake.ducklake_metadata "
                "WHERE key = 'data_path'"
            ).fetchall()
        return BlobStore(str(path).rstrip("/").removesuffix(TABLES_FOLDER) + FILES_FOLDER)

    def upload(self, path: Path, name: str) -> str:
        """Share a file or folder; returns the name of the copy, which is not registered yet."""
        return self.blobs.upload(path, name)

    def register(self, connection: duckdb.DuckDBPyConnection, name: str, copy: str) -> None:
        """Let `name` refer to an uploaded copy, in the caller's transaction."""
        connection.execute("DELETE FROM kept_files WHERE name = ?", [name])
        connection.execute("INSERT INTO kept_files VALUES (?, ?)", [name, copy])

    def registered_copy(self, name: str) -> str:
        """The shared copy that a name refers to; empty if there is none."""
        with self.read() as connection:
            found = connection.execute(
                "SELECT file FROM kept_files WHERE name = ?", [name]
            ).fetchone()
        return str(found[0]) if found else ""

    def download(self, name: str, path: Path, sha256: str = "") -> None:
        """Bring a shared file (of a digest) or folder to `path` unless it is there already."""
        copy = self.registered_copy(name)
        if not copy:
            return
        if path.is_file():
            is_current = file_digest(path) == sha256
        else:
            marker = path / MARKER_FILE
            is_current = marker.is_file() and marker.read_text(encoding="utf-8") == copy
        if not is_current:
            self.blobs.download(copy, path)

    def has_folder(self, name: str, path: Path) -> bool:
        """Whether an artifact's folder is shared; this host may not have it."""
        copy = self.registered_copy(name)
        return bool(copy) and self.blobs.exists(copy)

    # -- claims --------------------------------------------------------------------------------

    def open_claims(self) -> LakeClaims:
        """Claims on request keys that every host of the lake sees."""
        return LakeClaims(self.connection)

    # -- maintenance ---------------------------------------------------------------------------

    def maintain(self) -> None:
        """Merge small files; delete states and files that nothing has needed for a day."""
        self._compact()
        expired = f"older_than => now() - INTERVAL {RETENTION_DAYS * 24:.0f} HOUR"
        for function in ("expire_snapshots", "cleanup_old_files", "delete_orphaned_files"):
            self.connection.call(f"CALL ducklake_{function}('lake', {expired})")
        self._delete_unregistered()

    def purge(self, previously_registered: Collection[str] = ()) -> None:
        """Delete every earlier state now, so that deleted rows are in no file and no table.

        Copies without a name are deleted if they had one before or belong to a report; another one
        may be a checkpoint that a host is about to commit. A block that still reads an earlier
        state fails and can be run again.
        """
        self._compact()
        self.connection.call("CALL ducklake_expire_snapshots('lake', older_than => now())")
        self.connection.call("CALL ducklake_cleanup_old_files('lake', cleanup_all => true)")
        self._delete_unregistered(previously_registered)
        with self.connection.write_lock() as session:
            session.execute(_CLEAR_TEXT_STATISTICS)

    def _compact(self) -> None:
        """Unregister the files of deleted artifacts, and merge small files."""
        with self.transaction() as connection:
            connection.execute(
                "DELETE FROM kept_files WHERE starts_with(name, $1) "
                "AND name NOT IN (SELECT $1 || artifact_id FROM artifacts)",
                [f"{FILES_FOLDER}/"],
            )
        for call in _COMPACTION:
            self.connection.call(call)

    def _delete_unregistered(self, at_once: Collection[str] = ()) -> None:
        """Delete copies without a name: those of `at_once` and of reports now, others in a day."""
        expired = datetime.now(UTC) - timedelta(days=RETENTION_DAYS)
        copies = self.blobs.list_files()
        with self.read() as connection:
            registered = _registered_copies(connection)
        for copy, written in copies.items():
            is_due = copy in at_once or copy.startswith(f"{FILES_FOLDER}.report-")
            if copy not in registered and (is_due or written < expired):
                self.blobs.delete(copy)


def _registered_copies(connection: duckdb.DuckDBPyConnection) -> set[str]:
    return {copy for (copy,) in connection.execute("SELECT file FROM kept_files").fetchall()}
