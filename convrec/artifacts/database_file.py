"""The warehouse as one DuckDB file that many short-lived processes share.

DuckDB allows one writing process at a time, and a writer locks out the readers of other processes.
So no connection outlives a block: each block opens the file, works for milliseconds and closes it;
a process that finds the file locked retries with back-off. Long work (training, requests to a
teacher) holds no connection.

Row groups: a checkpoint merges small row groups in memory up to 122,880 rows, which is half a
gigabyte of responses. A table that grows by small commits therefore has DuckDB's smallest row
groups (WriteMode.APPEND), and other commits merge nothing. DuckDB compresses a row group once it is
full and keeps the rest in memory and in its log, so long texts have smaller groups as well
(WriteMode.LONG_TEXT).

Memory: by default DuckDB keeps written data up to four fifths of the machine's memory. A bulk copy
(WriteMode.BULK) needs only the row groups that its threads compress, so it runs with a limit.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb

from convrec.artifacts.backend import Backend, ConnectionBlock, WriteMode
from convrec.artifacts.duckdb_errors import (
    is_file_error,
    is_locked,
    missing_file_error,
    warehouse_error,
)
from convrec.artifacts.duckdb_instance import SharedInstance, memory_limit, spill_config
from convrec.artifacts.tables import STORAGE_OPTION, creation_sql, sql_literal
from convrec.errors import WarehouseError
from convrec.utils.retry import Backoff

LOCK_TIMEOUT = 120.0
"""Seconds that a process waits while other processes lock the file."""

APPEND_ROW_GROUP = 2048
"""Rows per group of a table that grows by small commits; DuckDB's minimum."""

LONG_TEXT_ROW_GROUP = 30_720
"""Rows per group of an artifact of long texts, or one that does not fill a default group."""

_READER = SharedInstance("READ_ONLY")
_WRITER = SharedInstance(f"READ_WRITE, {STORAGE_OPTION}", {"max_vacuum_tasks": 0})
_LONG_TEXT_WRITER = SharedInstance(
    f"READ_WRITE, {STORAGE_OPTION}, ROW_GROUP_SIZE {LONG_TEXT_ROW_GROUP}", {"max_vacuum_tasks": 0}
)


class DatabaseFile(Backend):
    """Connections to one DuckDB file.

    Blocks raise WarehouseError if the file is read-only, damaged or missing, stays locked for
    LOCK_TIMEOUT, or its disk is full.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.location = str(path)

    def create(self) -> None:
        """Create the file under a temporary name and link it: a crash leaves no half file."""
        if self.path.exists():
            return
        part = self.path.with_name(f".warehouse-{secrets.token_hex(8)}.duckdb")
        try:
            with contextlib.closing(duckdb.connect()) as connection:
                connection.execute(
                    f"ATTACH {sql_literal(str(part))} AS created ({STORAGE_OPTION}); USE created"
                )
                connection.execute(creation_sql())
                connection.execute("USE memory; DETACH created")
            try:
                os.link(part, self.path)
            except FileExistsError:  # another process was first
                pass
            except OSError:  # a file system without hard links
                os.replace(part, self.path)
        except duckdb.Error as error:
            raise warehouse_error(self.path, error) from None
        finally:
            part.unlink(missing_ok=True)

    def read(self) -> ConnectionBlock:
        """A read-only connection for the length of the block."""
        return self._open(lambda: _READER.connect(self.path))

    @contextlib.contextmanager
    def transaction(self, mode: WriteMode, scope: str) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection inside one transaction; `scope` has no effect, as a writer is alone."""
        if not self.path.exists():
            raise missing_file_error(self.path)
        writer = _LONG_TEXT_WRITER if WriteMode.LONG_TEXT in mode else _WRITER
        connect = self._appender if WriteMode.APPEND in mode else lambda: writer.connect(self.path)
        limit = memory_limit if WriteMode.BULK in mode else contextlib.nullcontext
        with self._open(connect) as connection, limit(connection):
            connection.begin()
            try:
                yield connection
            except BaseException:
                with contextlib.suppress(duckdb.Error):  # the first error says more
                    connection.rollback()
                raise
            connection.commit()

    @contextlib.contextmanager
    def erase_transaction(self, *, dry_run: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        """One transaction, after which the file is copied and replaced.

        DuckDB keeps deleted rows in free blocks. The old file stays locked until the new one has
        its place, so no other process writes in between.
        """
        rewritten = self.path.with_name("warehouse.rewriting.duckdb")
        if rewritten.exists() and not dry_run:  # finish an interrupted erasure first
            with self._exclusive() as connection:
                self._rewrite(connection, rewritten)
        with self._exclusive() as connection:
            connection.begin()
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            if dry_run:
                connection.rollback()
                return
            rewritten.touch()
            connection.commit()
            self._rewrite(connection, rewritten)

    def _exclusive(self) -> ConnectionBlock:
        return self._open(lambda: _WRITER.connect(self.path))

    def _rewrite(self, connection: duckdb.DuckDBPyConnection, rewritten: Path) -> None:
        """Copy the warehouse to `rewritten`, and replace the file with it."""
        for leftover in (rewritten, Path(f"{rewritten}.wal")):
            leftover.unlink(missing_ok=True)
        [(name,)] = connection.execute("SELECT current_database()").fetchall()
        connection.execute(f"ATTACH {sql_literal(str(rewritten))} AS rewritten ({STORAGE_OPTION})")
        connection.execute(f'COPY FROM DATABASE "{name}" TO rewritten')
        connection.execute("DETACH rewritten")
        # Without a checkpoint, the next process would replay the old file's log on the new one.
        connection.execute(f'CHECKPOINT "{name}"')
        os.replace(rewritten, self.path)

    @contextlib.contextmanager
    def _appender(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with contextlib.closing(duckdb.connect(config=spill_config())) as connection:
            options = f"{STORAGE_OPTION}, ROW_GROUP_SIZE {APPEND_ROW_GROUP}"
            connection.execute(f"ATTACH {sql_literal(str(self.path))} AS warehouse ({options})")
            connection.execute("USE warehouse")
            yield connection

    @contextlib.contextmanager
    def _open(self, connect: Callable[[], ConnectionBlock]) -> Iterator[duckdb.DuckDBPyConnection]:
        with contextlib.ExitStack() as stack:
            connection = self._wait_and_connect(stack, connect)
            try:
                yield connection
            except duckdb.Error as error:
                if not is_file_error(error):
                    raise
                raise warehouse_error(self.path, error) from None

    def _wait_and_connect(
        self, stack: contextlib.ExitStack, connect: Callable[[], ConnectionBlock]
    ) -> duckdb.DuckDBPyConnection:
        """Connect once no other process locks the file; `stack` closes the connection."""
        backoff = Backoff(LOCK_TIMEOUT, first=0.005, longest=0.25)
        while True:
            try:
                return stack.enter_context(connect())
            except duckdb.Error as error:
                if not is_locked(error):
                    raise warehouse_error(self.path, error) from None
                if backoff.is_over:
                    raise WarehouseError(
                        f"{self.path} was locked by another process for {LOCK_TIMEOUT:.0f} s; "
                        "end that process, or set CONVREC_HOME to another folder"
                    ) from None
            backoff.sleep()
