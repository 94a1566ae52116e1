"""The warehouse file: one DuckDB file that many short-lived processes share.

DuckDB lets one process write at a time, and a writer keeps readers of other processes out. So no
connection outlives a block: each opens the file, works for milliseconds and lets go, and whoever
finds it taken waits its turn with back-off. Long work (training, asking a teacher) holds nothing.

To make a DuckDB instance takes four times as long as to attach a file to one, so a process keeps
one instance for reading and one for writing, and attaches the file for the length of a block.

DuckDB merges small row groups while it checkpoints, in memory, up to 122,880 rows: half a gigabyte
of stored answers. So a table that grows by small commits has small row groups of its own size, and
the commits of everything else merge nothing. A row group is compressed once it is full; what does
not fill one stays in memory as it is, and goes to the log before it is compressed after all. So
long texts, which are many before their rows are, come in smaller groups (`dense`).

DuckDB keeps what it has written as long as there is room, which is four fifths of the machine's
memory unless it is told less. What a copy of files (`bulk`) needs is the row groups that its
threads compress, and they are spilled; a join may need more.
"""

from __future__ import annotations

import contextlib
import enum
import os
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from convrec.artifacts.duckdb_errors import (
    is_file_error,
    is_locked,
    missing_file_error,
    warehouse_error,
)
from convrec.artifacts.migrations import migrate
from convrec.artifacts.spilling import private_spill_folder
from convrec.artifacts.tables import SCHEMA_VERSION, STORAGE_OPTION, creation_sql, sql_literal
from convrec.config.paths import lake_settings
from convrec.errors import WarehouseError

if TYPE_CHECKING:
    from convrec.artifacts.ducklake.connection import Lake

LOCK_TIMEOUT = 120.0
"""Seconds that a process waits for its turn before it gives up."""

APPEND_ROW_GROUP = 2048
"""Rows in a row group of a table that grows by small commits; DuckDB's smallest."""

LONG_TEXT_ROW_GROUP = 30_720
"""Rows in a row group of an artifact of long texts, or one that fills none of DuckDB's size."""

WRITER_MEMORY = 2**28
"""Bytes a thread, of at least two, that DuckDB may take while it copies files."""


class WriteMode(enum.Flag):
    """What a transaction writes: it decides the size of row groups and the memory limit."""

    DEFAULT = 0
    APPEND = enum.auto()
    """One of many small commits to the same table, such as responses."""
    LONG_TEXT = enum.auto()
    """An artifact of long texts, or one that does not fill a row group of DuckDB's size."""
    BULK = enum.auto()
    """An artifact whose rows are copied from Parquet files."""


Opener = Callable[[], contextlib.AbstractContextManager[duckdb.DuckDBPyConnection]]


class _Base:
    """A DuckDB instance, and how many blocks use each file that is attached to it."""

    def __init__(self, config: dict[str, str | bool | int | float | list[str]]) -> None:
        self.connection = duckdb.connect(config={**config, **private_spill_folder()})
        self.users: dict[Path, int] = {}


@contextlib.contextmanager
def _bounded(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """For the length of the block DuckDB takes WRITER_MEMORY a thread, where it would take more.

    `RESET memory_limit` shows the default again, and goes on to keep to what was set.
    """
    with contextlib.closing(duckdb.connect()) as usual:
        [(given, threads)] = usual.execute(
            "SELECT parse_formatted_bytes(current_setting('memory_limit')), "
            "current_setting('threads')"
        ).fetchall()
    limit = min(given, max(threads, 2) * WRITER_MEMORY)
    with contextlib.suppress(duckdb.OutOfMemoryException):  # another thread has more of it now
        connection.execute(f"SET memory_limit = '{limit}B'")
    try:
        yield
    finally:
        connection.execute(f"SET memory_limit = '{given}B'")


class _Instance:
    """The DuckDB instance of this process for reading, or writing; files are attached in use."""

    def __init__(self, mode: str, config: dict[str, str | bool | int | float | list[str]]) -> None:
        self._mode, self._config = mode, config
        self._lock = threading.Lock()
        self._bases: dict[int, _Base] = {}  # by process: a fork starts anew

    @contextlib.contextmanager
    def connection(self, path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection whose database is the file. Raises duckdb.Error where it cannot be had."""
        base = self._attach(path)
        try:
            with contextlib.closing(base.connection.cursor()) as connection:
                connection.execute(f"USE {_name(path)}")
                yield connection
        finally:
            self._detach(base, path)

    def _attach(self, path: Path) -> _Base:
        with self._lock:
            base = self._bases.get(os.getpid())
            if base is None:
                base = self._bases[os.getpid()] = _Base(self._config)
            if path not in base.users:
                place = sql_literal(str(path))
                base.connection.execute(f"ATTACH {place} AS {_name(path)} ({self._mode})")
            base.users[path] = base.users.get(path, 0) + 1
        return base

    def _detach(self, base: _Base, path: Path) -> None:
        with self._lock:
            base.users[path] -= 1
            if base.users[path]:
                return
            del base.users[path]
            try:
                base.connection.execute(f"DETACH {_name(path)}")
            except duckdb.Error:  # a full disk, say, leaves an instance that can do nothing more
                if self._bases.get(os.getpid()) is base:
                    del self._bases[os.getpid()]
                if not base.users:
                    base.connection.close()


def _name(path: Path) -> str:
    """The name of an attached file, quoted."""
    return '"' + str(path).replace('"', '""') + '"'


_READER = _Instance("READ_ONLY", {})
_WRITER = _Instance(f"READ_WRITE, {STORAGE_OPTION}", {"max_vacuum_tasks": 0})
_DENSE = _Instance(
    f"READ_WRITE, {STORAGE_OPTION}, ROW_GROUP_SIZE {LONG_TEXT_ROW_GROUP}", {"max_vacuum_tasks": 0}
)


class Warehouse:
    """Connections to the DuckDB file of one folder, made where there is none.

    Where CONVREC_WAREHOUSE (or `lake`: its address and the place of its data) names a lake, to that
    one instead; the folder then has what belongs to this host. `where` names it in messages. Raises
    WarehouseError where the file is read-only, damaged or gone, not a convrec warehouse, newer than
    this version, or stays locked for longer than LOCK_TIMEOUT, and where its disk is full.
    """

    def __init__(self, home: Path, lake: tuple[str, str] | None = None) -> None:
        self.home = home
        self.lake = _lake(*(lake_settings() if lake is None else lake))
        self.path = home / "warehouse.duckdb"
        self.location = str(self.path) if self.lake is None else self.lake.location
        self._kept: duckdb.DuckDBPyConnection | None = None
        self._held = contextlib.ExitStack()
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WarehouseError(
                f"the warehouse folder {home} cannot be made ({error.strerror}); "
                "point CONVREC_HOME at a folder that can be written"
            ) from None
        if self.lake is not None:
            self.lake.prepare()
        elif not self.path.exists():
            self._create()
        with self.read_connection() as connection:
            version = self._version(connection)
        if version < SCHEMA_VERSION:
            with self.transaction() as connection:
                migrate(connection, self._version(connection))

    @contextlib.contextmanager
    def read_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection, open for the length of the block."""
        if self._kept is not None:
            yield self._kept
            return
        if self.lake is not None:
            with self.lake.read() as connection:
                yield connection
            return
        with self._open(lambda: _READER.connection(self.path)) as connection:
            yield connection

    @contextlib.contextmanager
    def hold_connection(self) -> Iterator[None]:
        """One connection for all reads of the block, which has one thread and writes nothing.

        Opening the file takes longer than most reads do. No other process can write meanwhile, so
        long work stands in a block of `release_connection`.
        """
        if self._kept is not None:
            yield
            return
        with contextlib.ExitStack() as self._held:
            self._kept = self._held.enter_context(self.read_connection())
            try:
                yield
            finally:
                self._kept = None

    @contextlib.contextmanager
    def release_connection(self) -> Iterator[None]:
        """Within a block of `reading`, if there is one: everybody can write until this one ends."""
        if self._kept is None:
            yield
            return
        self._kept = None
        self._held.close()
        try:
            yield
        finally:
            self._kept = self._held.enter_context(self.read_connection())

    @property
    def is_connection_held(self) -> bool:
        """Whether a block of `reading` goes on, in which nothing can be written."""
        return self._kept is not None

    @contextlib.contextmanager
    def transaction(
        self, mode: WriteMode = WriteMode.DEFAULT, *, scope: str = ""
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection inside one transaction: all of the block is committed, or nothing.

        On a lake, transactions with different scopes run at the same time: they must not touch the
        same rows. A transaction without a scope runs alone.
        """
        if self.lake is not None:
            with self.lake.transaction(scope) as connection:
                yield connection
            return
        if not self.path.exists():
            raise missing_file_error(self.path)
        writer = _DENSE if WriteMode.LONG_TEXT in mode else _WRITER
        opener = self._grower if WriteMode.APPEND in mode else lambda: writer.connection(self.path)
        bounded = _bounded if WriteMode.BULK in mode else contextlib.nullcontext
        with self._open(opener) as connection, bounded(connection):
            connection.begin()
            try:
                yield connection
            except BaseException:
                with contextlib.suppress(duckdb.Error):  # the first error says more
                    connection.rollback()
                raise
            connection.commit()

    def _create(self) -> None:
        """Make the file under another name and link it: a crash leaves none, two make one."""
        part = self.home / f".warehouse-{secrets.token_hex(8)}.duckdb"
        try:
            with contextlib.closing(duckdb.connect()) as connection:
                connection.execute(
                    f"ATTACH {sql_literal(str(part))} AS made ({STORAGE_OPTION}); USE made"
                )
                connection.execute(creation_sql())
                connection.execute("USE memory; DETACH made")
            try:
                os.link(part, self.path)
            except FileExistsError:
                pass
            except OSError:  # a file system without hard links
                os.replace(part, self.path)
        except duckdb.Error as error:
            raise warehouse_error(self.path, error) from None
        finally:
            part.unlink(missing_ok=True)

    def exclusive_connection(self) -> contextlib.AbstractContextManager[duckdb.DuckDBPyConnection]:
        """A connection that keeps every other process out, for the length of the block."""
        return self._open(lambda: _WRITER.connection(self.path))

    @contextlib.contextmanager
    def _grower(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with contextlib.closing(duckdb.connect(config=private_spill_folder())) as connection:
            place, options = (
                sql_literal(str(self.path)),
                f"{STORAGE_OPTION}, ROW_GROUP_SIZE {APPEND_ROW_GROUP}",
            )
            connection.execute(f"ATTACH {place} AS warehouse ({options})")
            connection.execute("USE warehouse")
            yield connection

    @contextlib.contextmanager
    def _open(self, opener: Opener) -> Iterator[duckdb.DuckDBPyConnection]:
        with contextlib.ExitStack() as stack:
            connection = self._turn(stack, opener)
            try:
                yield connection
            except duckdb.Error as error:
                if not is_file_error(error):
                    raise
                raise warehouse_error(self.path, error) from None

    def _turn(self, stack: contextlib.ExitStack, opener: Opener) -> duckdb.DuckDBPyConnection:
        """Open the file, once no other process has it; `stack` closes it."""
        deadline = time.monotonic() + LOCK_TIMEOUT
        wait = 0.005
        while True:
            try:
                return stack.enter_context(opener())
            except duckdb.Error as error:
                if not is_locked(error):
                    raise warehouse_error(self.path, error) from None
                if time.monotonic() > deadline:
                    raise WarehouseError(
                        f"{self.path} stayed locked by another process for {LOCK_TIMEOUT:.0f} s; "
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
                f"{self.location} holds something else than a warehouse, and stays untouched; "
                "set CONVREC_HOME to an empty folder, or CONVREC_WAREHOUSE to an empty database"
            )
        version = int(meta["schema_version"])
        if version > SCHEMA_VERSION:
            raise WarehouseError(
                f"{self.location} was made by a newer convrec (schema {version}, this "
                f"one reads up to {SCHEMA_VERSION}); upgrade convrec, or use another CONVREC_HOME"
            )
        return version


def _lake(address: str, data: str) -> Lake | None:
    if not address:
        return None
    from convrec.artifacts.ducklake.connection import open_lake

    return open_lake(address, data, os.getpid())
