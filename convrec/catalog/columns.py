"""The columns of a catalog file, under convrec's names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from convrec.errors import CatalogError

REQUIRED_COLUMNS = ("title", "year")
OPTIONAL_COLUMNS = ("item_id", "aliases", "genres")


def require_columns(columns: Sequence[str], required: Sequence[str], path: Path) -> None:
    """Raise CatalogError unless all `required` columns are among `columns`."""
    missing = [name for name in required if name not in columns]
    if missing:
        raise CatalogError(
            f"{path} has no column {' and no column '.join(missing)} (its columns: "
            f"{', '.join(columns) or 'none'}); a catalog needs title and year, and may have "
            "item_id, aliases, genres and text columns; set ingest.columns if the names differ"
        )


def column_renames(columns: Sequence[str], names: Mapping[str, str], path: Path) -> dict[str, str]:
    """Maps each column of the file to convrec's name for it.

    `names` maps convrec's names to the file's. An unmapped column that has one of the mapped names
    gets another name and stays a text column. Raises CatalogError if the file lacks a mapped
    column.
    """
    renames = {file_name.strip().lower(): name for name, file_name in names.items()}
    keys = {column: column.strip().lower() for column in columns}
    for file_name, name in renames.items():
        if file_name not in keys.values():
            raise CatalogError(
                f"{path} has no column {file_name}, which ingest.columns maps to {name} (its "
                f"columns: {', '.join(columns) or 'none'}); correct ingest.columns or the file"
            )
    return {
        column: renames.get(key) or (f"file's {column}" if key in names else column)
        for column, key in keys.items()
    }
