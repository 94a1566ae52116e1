"""Text that every store accepts."""

from __future__ import annotations


def to_valid_unicode(text: object) -> str:
    """Text that DuckDB and Parquet accept: each lone surrogate, as in a file name, becomes "?"."""
    return str(text).encode(errors="replace").decode()
