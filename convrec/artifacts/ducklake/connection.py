"""Connections to a lake: its DuckLake catalog in PostgreSQL and its rows in Parquet files."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb

from convrec.artifacts.duckdb_instance import spill_config
from convrec.artifacts.ducklake.setup import (
    extension_file,
    import_psycopg,
    resolve_data_path,
    s3_secret_sql,
)
from convrec.artifacts.retry import RETRY_TIMEOUT, with_retries
from convrec.artifacts.tables import sql_literal
from convrec.errors import CommitError, WarehouseError
from convrec.utils.error_text import first_line
from convrec.utils.retry import Backoff

if TYPE_CHECKING:
    import psycopg

ADDRESS_PREFIX = "ducklake:postgres:"

CONNECT_TIMEOUT = 10.0
"""Seconds to wait for a server that this process has not reached yet."""

TABLES_FOLDER = "tables"
"""Folder of DuckLake's Parquet files in the data path of a lake."""

_LOCK_CLASS = 0x636F6E76
"""The first half of convrec's advisory locks: "conv"."""

_KEEPALIVE = (
    "SET tcp_keepalives_idle = 15; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
)
"""The server releases the locks of a host that vanished after half a minute."""

_TRANSIENT_ERRORS = (
    "ransaction conflict",
    "Connection refused",
    "server closed the connection",
    "terminating connection",
    "the database system is",
    "no connection to the server",
    "connection is closed",
    "the connection is lost",
    "SSL connection has been closed",
    "Connection reset",
    "could not receive data",
    'Failed to execute query "ROLLBACK"',
    "timeout expired",
    "Connection timed out",
    "No route to host",
    "Network is unreachable",
    "could not translate host name",
    "EOF detected",
    "too many clients already",
    "connection slots are reserved",
    "transaction is aborted",  # after an error that DuckLake did not report
)

T = TypeVar("T")


def is_transient(error: Exception) -> bool:
    """Whether a retry may succeed: after a conflict, or while the server is unavailable."""
    return any(text in str(error) for text in _TRANSIENT_ERRORS)


class LakeConnection:
    """Sessions with the Postgres server and the DuckDB instance of this process.

    `address` is `ducklake:postgres:` and a libpq connection string. `data`, a folder or
    `s3://bucket/prefix`, is needed to create the lake, which remembers it. Raises WarehouseError
    for an invalid address.
    """

    def __init__(self, address: str, data: str) -> None:
        if not address.startswith(ADDRESS_PREFIX):
            raise WarehouseError(
                "CONVREC_WAREHOUSE is not the address of a lake; unset it to use the file in "
                f'CONVREC_HOME, or set it to "{ADDRESS_PREFIX}host=HOST dbname=NAME"'
            )
        self.psycopg = import_psycopg()
        self._conninfo = address.removeprefix(ADDRESS_PREFIX)
        try:
            parts = self.psycopg.conninfo.conninfo_to_dict(self._conninfo)
        except self.psycopg.Error:  # its message may contain the password
            raise WarehouseError(
                f"the text after {ADDRESS_PREFIX} in CONVREC_WAREHOUSE is not a Postgres "
                f'connection string; write "{ADDRESS_PREFIX}host=HOST dbname=NAME"'
            ) from None
        self._password = str(parts.pop("password", "") or "")
        self.location = ADDRESS_PREFIX + self.psycopg.conninfo.make_conninfo(**parts)
        self._data = data
        self._guard = threading.Lock()
        self._instance: duckdb.DuckDBPyConnection | None = None

    # -- DuckDB --------------------------------------------------------------------------------

    def attach(self, *, create: bool = False) -> duckdb.DuckDBPyConnection:
        """The DuckDB instance of this process, with the lake attached."""
        with self._guard:
            if self._instance is None:
                instance = duckdb.connect(config=spill_config())
                try:
                    self._attach(instance, create)
                except BaseException:
                    instance.close()
                    raise
                self._instance = instance
            return self._instance

    def _attach(self, instance: duckdb.DuckDBPyConnection, create: bool) -> None:
        if create and not self._data:
            raise WarehouseError(
                f"there is no warehouse at {self.location} yet; set CONVREC_LAKE_DATA to the "
                "folder or s3://bucket/prefix for its data"
            )
        for name in ("ducklake", "postgres_scanner", "httpfs"):
            instance.execute(f"LOAD {sql_literal(str(extension_file(name)))}")
        if secret := s3_secret_sql():
            instance.execute(secret)
        instance.execute("SET ducklake_max_retry_count = 100")
        options = f"CREATE_IF_NOT_EXISTS {str(create).lower()}"
        if self._data:
            path = f"{resolve_data_path(self._data)}/{TABLES_FOLDER}/"
            options += f", DATA_PATH {sql_literal(path)}"
        address = sql_literal(ADDRESS_PREFIX + self._conninfo)
        instance.execute(f"ATTACH {address} AS lake ({options})")

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection to the lake outside any transaction."""
        instance = self.attach()
        with self._guard:
            connection = instance.cursor()
        connection.execute("USE lake")
        return connection

    def begin(self) -> duckdb.DuckDBPyConnection:
        """A connection in a transaction that has already reached the server."""
        connection = self.cursor()
        try:
            connection.begin()
            connection.execute("SELECT 1 FROM meta LIMIT 0").fetchall()
        except BaseException:
            connection.close()
            raise
        return connection

    @with_retries
    def call(self, statement: str) -> None:
        """Run a statement that DuckLake does not allow in a transaction."""
        with contextlib.closing(self.when_available(self.cursor)) as connection:
            try:
                connection.execute(statement)
            except duckdb.Error as error:
                raise self.translate(error) from None

    # -- Postgres ------------------------------------------------------------------------------

    def open_session(self) -> psycopg.Connection[Any]:
        """A new Postgres session in which each statement is a transaction."""
        session: psycopg.Connection[Any] = self.psycopg.connect(
            self._conninfo, autocommit=True, connect_timeout=10
        )
        session.execute(_KEEPALIVE)
        return session

    def write_lock(self, scope: str = "") -> psycopg.Connection[Any]:
        """A Postgres session that holds the write lock of a scope until it is closed.

        Locks of different scopes are held at the same time; the lock without a scope excludes all.
        """
        return self.when_available(lambda: self._lock(scope))

    def _lock(self, scope: str) -> psycopg.Connection[Any]:
        session = self.open_session()
        try:
            session.execute(f"SET lock_timeout = '{RETRY_TIMEOUT:.0f}s'".encode())
            if scope:
                session.execute("SELECT pg_advisory_lock_shared(%s, 0)", [_LOCK_CLASS])
                session.execute(
                    "SELECT pg_advisory_lock(%s, hashtext(%s))", [_LOCK_CLASS + 1, scope]
                )
            else:
                session.execute("SELECT pg_advisory_lock(%s, 0)", [_LOCK_CLASS])
        except BaseException:
            session.close()
            raise
        return session

    # -- errors --------------------------------------------------------------------------------

    def when_available(self, action: Callable[[], T]) -> T:
        """Run `action`, again while the server is unavailable. Raises WarehouseError in the end."""
        timeout = CONNECT_TIMEOUT if self._instance is None else RETRY_TIMEOUT
        backoff = Backoff(timeout, first=0.05, longest=1.0)
        while True:
            try:
                return action()
            except self.psycopg.errors.LockNotAvailable:
                raise WarehouseError(
                    f"other processes held the write lock of {self.location} for "
                    f"{RETRY_TIMEOUT:.0f} s; end the one that hangs (see pg_locks, locktype "
                    "advisory), and run again"
                ) from None
            except (duckdb.Error, self.psycopg.Error) as error:
                if not is_transient(error):
                    raise self._unusable(error) from None
                if backoff.is_over:
                    raise WarehouseError(
                        f"{self.location} could not be reached for {timeout:.0f} s "
                        f"({self._describe(error)}); start the server, or correct CONVREC_WAREHOUSE"
                    ) from None
            backoff.sleep()

    def translate(self, error: Exception) -> Exception:
        """The error to raise for `error` in a block: `error` itself if its statement is wrong."""
        if is_transient(error):
            return CommitError(
                f"nothing was written to {self.location} ({self._describe(error)}); run it again"
            )
        if isinstance(error, (duckdb.ProgrammingError, duckdb.DataError)):
            return error
        return self._unusable(error)

    def _unusable(self, error: Exception) -> WarehouseError:
        return WarehouseError(
            f"{self.location} cannot be used ({self._describe(error)}); see "
            "docs/guides/shared-warehouse.md for what a warehouse on DuckLake needs"
        )

    def _describe(self, error: Exception) -> str:
        """An error in one line, without the connection string and its password."""
        text = first_line(error)
        if "Failed to commit" in text:  # the cause is on the last line
            text = [line for line in str(error).splitlines() if line.strip()][-1]
        text = text.rpartition('": ')[2].replace(self._conninfo, self.location).strip()
        return text.replace(self._password, "***") if self._password else text
