"""DuckDB instances of this process, which attach a warehouse file for the length of a block."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb

from convrec.artifacts.tables import sql_literal

DuckDBConfig = dict[str, str | bool | int | float | list[str]]

WRITER_MEMORY = 2**28
"""Bytes per thread, for at least two threads, that DuckDB may use in a bulk copy."""


def spill_config() -> DuckDBConfig:
    """Gives an instance its own folder for data that does not fit into memory.

    DuckDB creates the folder when it spills and deletes it afterwards. Its default is `.tmp` in the
    working directory with the same file names in every process: two that spill at once crash.
    """
    name = f"convrec-duckdb-{os.getpid()}-{secrets.token_hex(4)}"
    return {"temp_directory": os.path.join(tempfile.gettempdir(), name)}


def quoted(path: Path) -> str:
    """The name under which a file is attached, as an SQL identifier."""
    return '"' + str(path).replace('"', '""') + '"'


class _Instance:
    def __init__(self, config: DuckDBConfig) -> None:
        self.connection = duckdb.connect(config={**config, **spill_config()})
        self.users: dict[Path, int] = {}
        """How many blocks use each attached file."""


class SharedInstance:
    """One DuckDB instance of this process, created on first use.

    A new instance costs four times as much as attaching a file to one. `options` are those of
    ATTACH.
    """

    def __init__(self, options: str, config: DuckDBConfig | None = None) -> None:
        self._options, self._config = options, config or {}
        self._lock = threading.Lock()
        self._instances: dict[int, _Instance] = {}  # by process id: a fork starts a new one

    @contextlib.contextmanager
    def connect(self, path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection whose database is the file. Raises duckdb.Error if it is unavailable."""
        instance = self._attach(path)
        try:
            with contextlib.closing(instance.connection.cursor()) as connection:
                connection.execute(f"USE {quoted(path)}")
                yield connection
        finally:
            self._detach(instance, path)

    def _attach(self, path: Path) -> _Instance:
        with self._lock:
            instance = self._instances.get(os.getpid())
            if instance is None:
                instance = self._instances[os.getpid()] = _Instance(self._config)
            if path not in instance.users:
                file = sql_literal(str(path))
                instance.connection.execute(f"ATTACH {file} AS {quoted(path)} ({self._options})")
            instance.users[path] = instance.users.get(path, 0) + 1
        return instance

    def _detach(self, instance: _Instance, path: Path) -> None:
        with self._lock:
            instance.users[path] -= 1
            if instance.users[path]:
                return
            del instance.users[path]
            try:
                instance.connection.execute(f"DETACH {quoted(path)}")
            except duckdb.Error:  # after a full disk, for example, the instance is unusable
                if self._instances.get(os.getpid()) is instance:
                    del self._instances[os.getpid()]
                if not instance.users:
                    instance.connection.close()


@contextlib.contextmanager
def memory_limit(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Limit DuckDB to WRITER_MEMORY per thread for the length of the block.

    `RESET memory_limit` reports the default again but keeps the limit, so the default is set.
    """
    with contextlib.closing(duckdb.connect()) as unlimited:
        [(default, threads)] = unlimited.execute(
            "SELECT parse_formatted_bytes(current_setting('memory_limit')), "
            "current_setting('threads')"
        ).fetchall()
    limit = min(default, max(threads, 2) * WRITER_MEMORY)
    with contextlib.suppress(duckdb.OutOfMemoryException):  # another thread uses more right now
        connection.execute(f"SET memory_limit = '{limit}B'")
    try:
        yield
    finally:
        connection.execute(f"SET memory_limit = '{default}B'")
