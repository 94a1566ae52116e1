"""The warehouse as a lake: DuckLake, its catalog in PostgreSQL, rows in Parquet files.

DuckLake has no unique constraints, so what the file's lock does for a file is done by advisory
locks of Postgres, which die with their session: a block has its turn alone, or together with the
blocks that have different scopes. A conflict that DuckLake finds nevertheless, or a server
that goes away, ends the block with CommitError; `again` runs it anew. Each transaction carries a
mark, so that one whose commit was cut off is looked up rather than guessed.
"""

from __future__ import annotations

import contextlib
import functools
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb

from convrec.artifacts.ducklake.setup import (
    extension_file,
    import_psycopg,
    resolve_data_path,
    s3_secret_sql,
)
from convrec.artifacts.retry import RETRY_TIMEOUT, with_retries
from convrec.artifacts.spilling import private_spill_folder
from convrec.artifacts.tables import creation_sql, sql_literal
from convrec.errors import CommitError, WarehouseError

if TYPE_CHECKING:
    import psycopg

    from convrec.artifacts.ducklake.blobs import BlobStore

ADDRESS_PREFIX = "ducklake:postgres:"

CONNECT_TIMEOUT = 10.0
"""Seconds to wait for a server that this process has not reached yet."""

TABLES, FILES = "tables", "files"
"""Where in the data's place DuckLake has its Parquet files, and convrec the artifacts' files."""

_KEPT = "CREATE TABLE kept_files (name VARCHAR, file VARCHAR);\n"
"""Which file of the depot stands behind a name, as `files/checkpoint-1f...`."""

_TURN = 0x636F6E76
"""The first half of convrec's advisory locks: "conv"."""

_KEEPALIVE = (
    "SET tcp_keepalives_idle = 15; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
)
"""After half a minute the server lets go of a lock whose host has vanished."""

T = TypeVar("T")


@functools.cache
def open_lake(address: str, data: str, process: int) -> Lake:
    """The lake of an address, one object a process. Raises WarehouseError for a wrong address."""
    return Lake(address, data)


class Lake:
    """Connections to a lake: `ducklake:postgres:` and a libpq connection string.

    `data`, a folder or `s3://bucket/prefix`, is needed where the lake is made; it keeps the place.
    """

    def __init__(self, address: str, data: str) -> None:
        if not address.startswith(ADDRESS_PREFIX):
            raise WarehouseError(
                "CONVREC_WAREHOUSE is no address of a lake; leave it out for a file in "
                f'CONVREC_HOME, or write "{ADDRESS_PREFIX}host=HOST dbname=NAME"'
            )
        self._pg = import_psycopg()
        self.address = address.removeprefix(ADDRESS_PREFIX)
        try:
            known = self._pg.conninfo.conninfo_to_dict(self.address)
        except self._pg.Error:  # whose words may hold the password
            raise WarehouseError(
                f"the text after {ADDRESS_PREFIX} in CONVREC_WAREHOUSE is no Postgres connection string; "
                f'write "{ADDRESS_PREFIX}host=HOST dbname=NAME"'
            ) from None
        self._password = str(known.pop("password", "") or "")
        self.location = ADDRESS_PREFIX + self._pg.conninfo.make_conninfo(**known)
        self._data = data
        self._guard = threading.Lock()
        self._base: duckdb.DuckDBPyConnection | None = None
        self._prepared = False

    # -- blocks --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def read(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that sees one state of the lake for the length of the block."""
        with contextlib.closing(self.patiently(self._begin)) as connection:
            try:
                yield connection
            except duckdb.Error as error:
                raise self._problem(error) from None

    @contextlib.contextmanager
    def transaction(self, scope: str = "") -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection inside one transaction: all of the block is committed, or nothing.

        Transactions with different scopes run at the same time; others wait. Raises
        CommitError where nothing was committed and the same block may be tried again.
        """
        mark = uuid.uuid4().hex
        with contextlib.ExitStack() as stack:
            turn = stack.enter_context(self.patiently(lambda: self._turn(scope)))
            connection = stack.enter_context(contextlib.closing(self.patiently(self._begin)))
            try:
                connection.execute("CALL ducklake_set_commit_message('lake', 'convrec', ?)", [mark])
                yield connection
                turn.execute("SELECT 1")  # fails where the turn was lost together with its session
                connection.commit()
            except (duckdb.Error, self._pg.Error) as error:
                with contextlib.suppress(duckdb.Error):
                    connection.rollback()
                problem = self._problem(error)
                if isinstance(problem, CommitError) and self.patiently(
                    lambda: self._committed(mark)
                ):
                    return
                raise problem from None

    @with_retries
    def call(self, statement: str) -> None:
        """Run a statement of DuckLake's upkeep, outside any transaction."""
        with contextlib.closing(self.patiently(self._cursor)) as connection:
            try:
                connection.execute(statement)
            except duckdb.Error as error:
                raise self._problem(error) from None

    def alone(self) -> psycopg.Connection[Any]:
        """A Postgres session that has its turn alone until it is closed; a context manager."""
        return self.patiently(lambda: self._turn(""))

    # -- files ---------------------------------------------------------------------------------

    @functools.cached_property
    def depot(self) -> BlobStore:
        """Where files stand that are no rows."""
        from convrec.artifacts.ducklake.blobs import BlobStore

        with self.read() as connection:
            found = connection.execute(
                "SELECT value FROM __ducklake_metadata_lake.ducklake_metadata "
                "WHERE key = 'data_path'"
            ).fetchone()
        place = str(found[0]) if found else ""
        return BlobStore(place.rstrip("/").removesuffix(TABLES) + FILES)

    def point(self, connection: duckdb.DuckDBPyConnection, name: str, file: str) -> None:
        """Let `name` mean a file of the depot, in the caller's transaction."""
        connection.execute("DELETE FROM kept_files WHERE name = ?", [name])
        connection.execute("INSERT INTO kept_files VALUES (?, ?)", [name, file])

    def file_of(self, name: str) -> str:
        """The file of the depot that a name means; empty where there is none."""
        with self.read() as connection:
            found = connection.execute(
                "SELECT file FROM kept_files WHERE name = ?", [name]
            ).fetchone()
        return str(found[0]) if found else ""

    # -- opening -------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the lake and its tables where there are none. Raises WarehouseError."""
        if self._prepared:
            return
        if not (self.patiently(self._attached_if_made) and self._tables()):
            self._make()
        self._prepared = True

    def _make(self) -> None:
        with self.alone():
            self.patiently(lambda: self._attached(make=True))
            if self._tables():
                return
            with contextlib.closing(self._cursor()) as connection:
                connection.begin()
                connection.execute(creation_sql() + _KEPT)
                connection.commit()

    def _tables(self) -> bool:
        with contextlib.closing(self._cursor()) as connection:
            return connection.execute(
                "SELECT count(*) FROM duckdb_tables() WHERE database_name = 'lake'"
            ).fetchone() != (0,)

    def _attached_if_made(self) -> bool:
        try:
            self._attached()
        except duckdb.InvalidInputException as error:
            if "explicitly disabled" not in str(error):
                raise
            return False
        return True

    def _attached(self, *, make: bool = False) -> duckdb.DuckDBPyConnection:
        """This process's DuckDB instance with the lake attached."""
        with self._guard:
            if self._base is None:
                base = duckdb.connect(config=private_spill_folder())
                try:
                    self._attach(base, make)
                except BaseException:
                    base.close()
                    raise
                self._base = base
            return self._base

    def _attach(self, base: duckdb.DuckDBPyConnection, make: bool) -> None:
        if make and not self._data:
            raise WarehouseError(
                f"there is no warehouse at {self.location} yet; set CONVREC_LAKE_DATA to the "
                "folder or s3://bucket/prefix for its data"
            )
        for name in ("ducklake", "postgres_scanner", "httpfs"):
            base.execute(f"LOAD {sql_literal(str(extension_file(name)))}")
        if secret := s3_secret_sql():
            base.execute(secret)
        base.execute("SET ducklake_max_retry_count = 100")
        options = f"CREATE_IF_NOT_EXISTS {str(make).lower()}"
        if self._data:
            options += (
                f", DATA_PATH {sql_literal(resolve_data_path(self._data) + '/' + TABLES + '/')}"
            )
        base.execute(
            f"ATTACH {sql_literal(f'ducklake:postgres:{self.address}')} AS lake ({options})"
        )

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        base = self._attached()
        with self._guard:
            connection = base.cursor()
        connection.execute("USE lake")
        return connection

    def _begin(self) -> duckdb.DuckDBPyConnection:
        """A connection in a transaction that has seen the lake, so that the server is there."""
        connection = self._cursor()
        try:
            connection.begin()
            connection.execute("SELECT 1 FROM meta LIMIT 0").fetchall()
        except BaseException:
            connection.close()
            raise
        return connection

    # -- turns ---------------------------------------------------------------------------------

    def _turn(self, scope: str) -> psycopg.Connection[Any]:
        """A session that holds the turn until it is closed."""
        session = self.session()
        try:
            session.execute(f"SET lock_timeout = '{RETRY_TIMEOUT:.0f}s'".encode())
            if scope:
                session.execute("SELECT pg_advisory_lock_shared(%s, 0)", [_TURN])
                session.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", [_TURN + 1, scope])
            else:
                session.execute("SELECT pg_advisory_lock(%s, 0)", [_TURN])
        except BaseException:
            session.close()
            raise
        return session

    def session(self) -> psycopg.Connection[Any]:
        """A new Postgres session, each statement a transaction; a keepalive tells a dead host."""
        session: psycopg.Connection[Any] = self._pg.connect(
            self.address, autocommit=True, connect_timeout=10
        )
        session.execute(_KEEPALIVE)
        return session

    def _committed(self, mark: str) -> bool:
        with self.session() as session:
            found = session.execute(
                "SELECT count(*) FROM ducklake_snapshot_changes WHERE commit_message = %s", [mark]
            ).fetchone()
        return found != (0,)

    def patiently(self, act: Callable[[], T]) -> T:
        """What `act` gives, once the server is there. Raises WarehouseError where it is not."""
        patience = CONNECT_TIMEOUT if self._base is None else RETRY_TIMEOUT
        deadline, wait = time.monotonic() + patience, 0.05
        while True:
            try:
                return act()
            except self._pg.errors.LockNotAvailable:
                raise WarehouseError(
                    f"other processes kept writing to {self.location} for {RETRY_TIMEOUT:.0f} s; "
                    "end the one that hangs (pg_locks, locktype advisory), and run again"
                ) from None
            except (duckdb.Error, self._pg.Error) as error:
                if not is_transient(error):
                    raise self._unusable(error) from None
                if time.monotonic() > deadline:
                    raise WarehouseError(
                        f"{self.location} could not be reached for {patience:.0f} s "
                        f"({self._told(error)}); start the server, or correct CONVREC_WAREHOUSE"
                    ) from None
            time.sleep(wait * random.uniform(0.5, 1.5))
            wait = min(wait * 2, 1.0)

    def _problem(self, error: Exception) -> Exception:
        """What to raise for an error of a block: itself where the statement is at fault."""
        if is_transient(error):
            return CommitError(
                f"nothing was written to {self.location} ({self._told(error)}); run it again"
            )
        if isinstance(error, (duckdb.ProgrammingError, duckdb.DataError)):
            return error
        return self._unusable(error)

    def _unusable(self, error: Exception) -> WarehouseError:
        return WarehouseError(
            f"{self.location} cannot be used ({self._told(error)}); see docs/scale.md for what a "
            "warehouse on DuckLake needs"
        )

    def _told(self, error: Exception) -> str:
        """An error in one line, without the connection string and its password."""
        lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        text = lines[-1] if "Failed to commit" in lines[0] else lines[0]
        text = text.rpartition('": ')[2].replace(self.address, self.location).strip()
        return text.replace(self._password, "***") if self._password else text


def is_transient(error: Exception) -> bool:
    """Whether the same may succeed a little later: a conflict, or a server that went away."""
    signs = (
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
        "transaction is aborted",  # after an error that DuckLake kept to itself
    )
    return any(sign in str(error) for sign in signs)
