"""What a warehouse needs from the database behind it: a DuckDB file or a lake."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path

import duckdb

from convrec.artifacts.ducklake.claims import LakeClaims

MANIFEST = "manifest.json"
"""Written last into the folder of an artifact."""

FILES_FOLDER = "files"
"""Folder of the home, and of a lake's data, with the files of artifacts."""

ConnectionBlock = AbstractContextManager[duckdb.DuckDBPyConnection]


class WriteMode(enum.Flag):
    """What a transaction writes; decides the size of row groups and the memory limit."""

    DEFAULT = 0
    APPEND = enum.auto()
    """One of many small commits to the same table, such as responses."""
    LONG_TEXT = enum.auto()
    """An artifact of long texts, or one that does not fill a row group of DuckDB's size."""
    BULK = enum.auto()
    """An artifact whose rows are copied from Parquet files."""


class Backend(ABC):
    """The database of a warehouse, and the files that its hosts share, if there are several.

    The methods that are not abstract suit a warehouse on one host, whose files are in its home.
    """

    location: str
    """Path or address for messages, without a password."""

    @abstractmethod
    def create(self) -> None:
        """Create the database with all tables if it does not exist. Raises WarehouseError."""

    @abstractmethod
    def read(self) -> ConnectionBlock:
        """A read-only connection for the length of the block. Raises WarehouseError."""

    @abstractmethod
    def transaction(self, mode: WriteMode, scope: str) -> ConnectionBlock:
        """A connection inside one transaction: all of the block is committed, or nothing."""

    @abstractmethod
    def erase_transaction(self, *, dry_run: bool) -> ConnectionBlock:
        """A transaction after which no file holds a row that it deleted; a dry run rolls back."""

    def upload(self, path: Path, name: str) -> str:
        """Share a file or folder; returns the name of the copy, which is not registered yet."""
        return ""

    def register(self, connection: duckdb.DuckDBPyConnection, name: str, copy: str) -> None:  # noqa: B027
        """Let `name` refer to an uploaded copy, in the caller's transaction."""

    def download(self, name: str, path: Path, sha256: str = "") -> None:  # noqa: B027
        """Bring a shared file or folder to `path` unless it is there already."""

    def has_folder(self, name: str, path: Path) -> bool:
        """Whether an artifact's folder is complete, here or where hosts share it."""
        return (path / MANIFEST).is_file()

    def open_claims(self) -> LakeClaims | None:
        """Claims for one owner; None if only this host uses the warehouse."""
        return None

    def maintain(self) -> None:  # noqa: B027
        """Merge small files and delete what nothing refers to any more."""
