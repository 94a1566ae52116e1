"""Errors of DuckDB about the warehouse file, as messages that say what to do."""

from __future__ import annotations

import os
from pathlib import Path

import duckdb

from convrec.errors import WarehouseError, is_disk_full
from convrec.utils.error_text import first_line

FILE_ERRORS = (
    duckdb.IOException,
    duckdb.FatalException,
    duckdb.InternalException,
    duckdb.SerializationException,
)
"""Errors of the file or the disk, as opposed to those of a statement."""

_LOCKED = (
    "Could not set lock",
    "Conflicting lock",
    "different configuration",
    "already attached",
)


def is_locked(error: duckdb.Error) -> bool:
    """Whether another process has the file open, or another thread in another mode."""
    return any(text in str(error) for text in _LOCKED)


def is_file_error(error: duckdb.Error) -> bool:
    """Whether the cause is the file or the disk rather than a statement."""
    return isinstance(error, FILE_ERRORS) or "Failed to commit" in str(error)


def warehouse_error(path: Path, error: duckdb.Error) -> WarehouseError:
    """The error to raise if the file cannot be opened, read or written."""
    text = first_line(error)
    if is_disk_full(error):
        return WarehouseError(
            f"there is no space left for {path}; free some space and run again, or set "
            "CONVREC_HOME to a folder on another disk; everything that was committed is kept"
        )
    if "does not exist" in text:
        return missing_file_error(path)
    if "Permission denied" in text or "read-only" in text.lower():
        return _unwritable_error(path)
    if "not a valid DuckDB database" in text:
        return WarehouseError(
            f"{path} is not a DuckDB file and was not changed; "
            "move it away, or set CONVREC_HOME to another folder"
        )
    if "storage version" in text:
        return WarehouseError(
            f"{path} has a newer storage format than this convrec supports and was not changed; "
            "upgrade convrec, or set CONVREC_HOME to another folder"
        )
    if "Could not read" in text or "Corrupt" in text:
        return WarehouseError(
            f"{path} is damaged ({text}) and was not changed; restore it from a backup, "
            "or set CONVREC_HOME to another folder"
        )
    if not os.access(path, os.W_OK):
        return _unwritable_error(path)
    return WarehouseError(
        f"{path} cannot be used ({text}); restore it, or set CONVREC_HOME to another folder"
    )


def _unwritable_error(path: Path) -> WarehouseError:
    return WarehouseError(
        f"{path} cannot be written; give this user write permission, "
        "or set CONVREC_HOME to a folder that can be written"
    )


def missing_file_error(path: Path) -> WarehouseError:
    """The error to raise if the file disappeared while convrec was running."""
    return WarehouseError(
        f"{path} was moved or deleted while convrec was running; put it back, or run again to "
        "start with an empty warehouse"
    )
