"""The warehouse file: one DuckDB file that many short-lived processes share.

DuckDB lets one process write at a time, and a writer keeps readers of other processes out. So no
connection outlives a block: each opens the file, works for milliseconds and lets go, and whoever
finds it taken waits its turn with back-off. Long work (training, asking a teacher) holds nothing.

To make a DuckDB instance takes four times as long as to attach a file to one, so a process keeps
one instance for reading and one for writing, and attaches the file for the length of a block.

DuckDB merges small row groups while it checkpoints, in memory, up to 122,880 rows: half a gigabyte
of stored answers. So a table that grows by small commits has small row groups of its own size, and
the commits of everything else merge nothing.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb

from convrec.artifacts.migrations import migrate
from convrec.artifacts.tables import SCHEMA_VERSION, creation_sql
from convrec.errors import WarehouseError

LOCK_PATIENCE = 120.0
"""Seconds that a process waits for its turn before it gives up."""

GROWING_GROUP = 2048
"""Rows in a row group of a table that grows by small commits; DuckDB's smallest."""


class _Instance:
    """A DuckDB instance of this process, to which files are attached while they are in use."""

    def __init__(self, mode: str, config: dict[str, str | bool | int | float | list[str]]) -> None:
        self._mode, self._config = mode, config
        self._lock = threading.Lock()
        self._base: duckdb.DuckDBPyConnection | None = None
        self._process = 0
        self._users: dict[Path, int] = {}

    @contextlib.contextmanager
    def connection(self, path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection whose database is the file. Raises duckdb.Error where it cannot be had."""
        connection = self._attach(path)
        try:
            yield connection
        finally:
            self._detach(path, connection)

    def _attach(self, path: Path) -> duckdb.DuckDBPyConnection:
        name = _quoted(str(path))
        with self._lock:
            if self._base is None or self._process != os.getpid():
                self._base, self._process = duckdb.connect(config=self._config), os.getpid()
                self._users.clear()
            if not self._users.get(path):
                place = str(path).replace("'", "''")
                self._base.execute(f"ATTACH '{place}' AS {name} ({self._mode})")
            self._users[path] = self._users.get(path, 0) + 1
            connection = self._base.cursor()
        connection.execute(f"USE {name}")
        return connection

    def _detach(self, path: Path, connection: duckdb.DuckDBPyConnection) -> None:
        connection.close()
        with self._lock:
            self._users[path] -= 1
            if not self._users[path] and self._base is not None:
                del self._users[path]
                self._base.execute(f"DETACH {_quoted(str(path))}")


_READER = _Instance("READ_ONLY", {})
_WRITER = _Instance("READ_WRITE", {"max_vacuum_tasks": 0})


class Warehouse:
    """Connections to the DuckDB file of one folder, made where there is none.

    Raises WarehouseError where the file is read-only, not a convrec warehouse, newer than this
    version, or stays locked for longer than LOCK_PATIENCE.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.path = home / "warehouse.duckdb"
        self._kept: duckdb.DuckDBPyConnection | None = None
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WarehouseError(
                f"the warehouse folder {home} cannot be made ({error.strerror}); "
                "point CONVREC_HOME at a folder that can be written"
            ) from None
        if not self.path.exists():
            with self.write():
                pass
        with self.read_connection() as connection:
            version = self._version(connection)
        if version < SCHEMA_VERSION:
            with self.write() as connection:
                migrate(connection, self._version(connection))

    @contextlib.contextmanager
    def read_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection, open for the length of the block."""
        if self._kept is not None:
            yield self._kept
            return
        with contextlib.closing(self._open(self._reader)) as connection:
            yield connection

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """One connection for all reads of the block, which has one thread and writes nothing.

        Opening the file takes longer than most reads do; no other process can write meanwhile.
        """
        with self.read_connection() as connection:
            before, self._kept = self._kept, connection
            try:
                yield
            finally:
                self._kept = before

    @contextlib.contextmanager
    def write(self, *, growing: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection inside one transaction: all of the block is committed, or nothing.

        `growing` is for one of many small commits to the same table, as of answers.
        """
        opener = self._grower if growing else self._writer
        with contextlib.closing(self._open(opener)) as connection:
            connection.begin()
            try:
                tables = connection.execute("SELECT count(*) FROM duckdb_tables()").fetchone()
                if tables == (0,):
                    connection.execute(creation_sql())
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    def open_for_writing(self) -> duckdb.DuckDBPyConnection:
        """A connection that keeps every other process out until it is closed."""
        return self._open(self._writer)

    def _reader(self) -> duckdb.DuckDBPyConnection:
        return duckdb.connect(str(self.path), read_only=True)

    def _writer(self) -> duckdb.DuckDBPyConnection:
        return duckdb.connect(str(self.path), config={"max_vacuum_tasks": 0})

    def _grower(self) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect()
        path = str(self.path).replace("'", "''")
        try:
            connection.execute(f"ATTACH '{path}' AS warehouse (ROW_GROUP_SIZE {GROWING_GROUP})")
            connection.execute("USE warehouse")
        except BaseException:
            connection.close()
            raise
        return connection

    def _open(self, opener: Callable[[], duckdb.DuckDBPyConnection]) -> duckdb.DuckDBPyConnection:
        deadline = time.monotonic() + LOCK_PATIENCE
        wait = 0.005
        while True:
            try:
                return opener()
            except duckdb.Error as error:
                if not _taken(error):
                    raise WarehouseError(_open_problem(self.path, error)) from None
                if time.monotonic() > deadline:
                    raise WarehouseError(
                        f"{self.path} stayed locked by another process for {LOCK_PATIENCE:.0f} s; "
                        "end that process, or set CONVREC_HOME to another folder"
                    ) from None
            time.sleep(wait * random.uniform(0.5, 1.5))
            wait = min(wait * 2, 0.25)

    def _version(self, connection: duckdb.DuckDBPyConnection) -> int:
        """The schema version of the file, which is at most ours."""
        try:
            meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
        except duckdb.Error:
            meta = {}
        if meta.get("convrec") != "warehouse":
            raise WarehouseError(
                f"{self.path} is a DuckDB file of something else, and stays untouched; "
                "set CONVREC_HOME to an empty folder"
            )
        version = int(meta["schema_version"])
        if version > SCHEMA_VERSION:
            raise WarehouseError(
                f"{self.path} was made by a newer convrec (schema {version}, this "
                f"one reads up to {SCHEMA_VERSION}); upgrade convrec, or use another CONVREC_HOME"
            )
        return version


def _taken(error: duckdb.Error) -> bool:
    """Whether another process holds the file, or another thread has it open in the other mode."""
    signs = (
        "Could not set lock",
        "Conflicting lock",
        "different configuration",
        "already attached",
    )
    return any(sign in str(error) for sign in signs)


def _open_problem(path: Path, error: duckdb.Error) -> str:
    text = str(error).splitlines()[0]
    if "not a valid DuckDB database" in text:
        return (
            f"{path} is not a DuckDB file, and stays untouched; "
            "move it away, or set CONVREC_HOME to another folder"
        )
    if "Permission denied" in text or "read-only" in text.lower() or not os.access(path, os.W_OK):
        return (
            f"{path} cannot be written; give this user write permission, "
            "or set CONVREC_HOME to a folder that can be written"
        )
    return f"{path} cannot be opened ({text}); restore it, or set CONVREC_HOME to another folder"
