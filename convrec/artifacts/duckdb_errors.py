"""What DuckDB says of the warehouse file when it cannot be used, as one sentence for a person."""

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
"""Errors of the file or the disk, in contrast to those of a statement."""


def is_locked(error: duckdb.Error) -> bool:
    """Whether another process holds the file, or another thread has it open in the other mode."""
    signs = (
        "Could not set lock",
        "Conflicting lock",
        "different configuration",
        "already attached",
    )
    return any(sign in str(error) for sign in signs)


def is_file_error(error: duckdb.Error) -> bool:
    """Whether the file or the disk is to blame rather than a statement."""
    return isinstance(error, FILE_ERRORS) or "Failed to commit" in str(error)


def warehouse_error(path: Path, error: duckdb.Error) -> WarehouseError:
    """What to raise where the file cannot be opened, read or written."""
    text = first_line(error)
    if is_disk_full(error):
        return WarehouseError(
            f"there is no space left for {path}; free some and run again, or set CONVREC_HOME to a "
            "folder on another disk; nothing that was committed is lost"
        )
    if "does not exist" in text:
        return missing_file_error(path)
    if "Permission denied" in text or "read-only" in text.lower():
        return unwritable_error(path)
    if "not a valid DuckDB database" in text:
        return WarehouseError(
            f"{path} is not a DuckDB file, and stays untouched; "
            "move it away, or set CONVREC_HOME to another folder"
        )
    if "storage version" in text:
        return WarehouseError(
            f"{path} has a newer storage format than this convrec writes, and stays untouched; "
            "upgrade convrec, or set CONVREC_HOME to another folder"
        )
    if "Could not read" in text or "Corrupt" in text:
        return WarehouseError(
            f"{path} is damaged ({text}), and stays untouched; restore it from a copy, "
            "or set CONVREC_HOME to another folder"
        )
    if not os.access(path, os.W_OK):
        return unwritable_error(path)
    return WarehouseError(
        f"{path} cannot be used ({text}); restore it, or set CONVREC_HOME to another folder"
    )


def unwritable_error(path: Path) -> WarehouseError:
    """What to raise where the file, or its folder, may not be written."""
    return WarehouseError(
        f"{path} cannot be written; give this user write permission, "
        "or set CONVREC_HOME to a folder that can be written"
    )


def missing_file_error(path: Path) -> WarehouseError:
    """What to raise where the file has vanished while convrec runs."""
    return WarehouseError(
        f"{path} was moved or deleted while convrec ran; put it back, or run again to begin anew"
    )
