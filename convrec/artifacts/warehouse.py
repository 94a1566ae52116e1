"""The warehouse of a home: connections to its DuckDB file or lake, of a known schema version."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import duckdb

from convrec.artifacts.backend import Backend, ConnectionBlock, WriteMode
from convrec.artifacts.database_file import DatabaseFile
from convrec.artifacts.ducklake.lake import open_lake
from convrec.artifacts.migrations import migrate
from convrec.artifacts.tables import SCHEMA_VERSION
from convrec.config.paths import lake_settings
from convrec.errors import WarehouseError


class Warehouse:
    """Connections to the database of one home, which is created if it does not exist.

    The database is `<home>/warehouse.duckdb`, or the lake that CONVREC_WAREHOUSE names. `lake`, an
    address and the place for its data, overrides the environment; an empty address means the file.

    Raises WarehouseError if the database cannot be used, is not a convrec warehouse, or has a newer
    schema than this version of convrec.
    """

    def __init__(self, home: Path, lake: tuple[str, str] | None = None) -> None:
        self.home = home
        self.path = home / "warehouse.duckdb"
        address, data = lake_settings() if lake is None else lake
        self.backend: Backend = (
            open_lake(address, data, os.getpid()) if address else DatabaseFile(self.path)
        )
        self.location = self.backend.location
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._held = contextlib.ExitStack()
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WarehouseError(
                f"the warehouse folder {home} cannot be created ({error.strerror}); "
                "set CONVREC_HOME to a folder that can be written"
            ) from None
        self.backend.create()
        with self.read_connection() as connection:
            version = self._schema_version(connection)
        if version < SCHEMA_VERSION:
            with self.transaction() as connection:
                migrate(connection, self._schema_version(connection))

    @contextlib.contextmanager
    def read_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection for the length of the block."""
        if self._connection is not None:
            yield self._connection
            return
        with self.backend.read() as connection:
            yield connection

    @contextlib.contextmanager
    def hold_connection(self) -> Iterator[None]:
        """Use one connection for all reads of the block, which has one thread and does not write.

        Opening the file takes longer than most reads. No other process can write meanwhile, so do
        long work inside `release_connection`.
        """
        if self._connection is not None:
            yield
            return
        with contextlib.ExitStack() as self._held:
            self._connection = self._held.enter_context(self.read_connection())
            try:
                yield
            finally:
                self._connection = None

    @contextlib.contextmanager
    def release_connection(self) -> Iterator[None]:
        """Close the connection of `hold_connection`, if there is one, for the length of the block.

        Other processes, and this one, can write until the block ends.
        """
        if self._connection is None:
            yield
            return
        self._connection = None
        self._held.close()
        try:
            yield
        finally:
            self._connection = self._held.enter_context(self.read_connection())

    @property
    def is_connection_held(self) -> bool:
        """Whether this is inside a block of `hold_connection`, in which nothing can be written."""
        return self._connection is not None

    def transaction(
        self, mode: WriteMode = WriteMode.DEFAULT, *, scope: str = ""
    ) -> ConnectionBlock:
        """A connection inside one transaction: all of the block is committed, or nothing.

        On a lake, transactions with different scopes run at the same time: they must not touch the
        same rows. A transaction without a scope runs alone.
        """
        return self.backend.transaction(mode, scope)

    def _schema_version(self, connection: duckdb.DuckDBPyConnection) -> int:
        try:
            meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
        except duckdb.Error:
            meta = {}
        if meta.get("convrec") != "warehouse":
            raise WarehouseError(
                f"{self.location} is not a convrec warehouse and was not changed; set CONVREC_HOME "
                "to an empty folder, or CONVREC_WAREHOUSE to an empty database"
            )
        version = int(meta["schema_version"])
        if version > SCHEMA_VERSION:
            raise WarehouseError(
                f"{self.location} was created by a newer convrec (schema {version}; this one reads "
                f"up to {SCHEMA_VERSION}); upgrade convrec, or use another CONVREC_HOME"
            )
        return version
