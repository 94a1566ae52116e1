"""Catalog files that call their columns otherwise: our names, by `ingest.columns`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from convrec.errors import CatalogError


def renaming(columns: Sequence[str], names: Mapping[str, str], path: Path) -> dict[str, str]:
    """Column of the file → our name for it, where `names` maps ours to the file's.

    A column that has one of our names and is not meant by it keeps its words under another. Raises
    CatalogError where the file lacks a column that `names` gives.
    """
    own = {wanted.strip().lower(): name for name, wanted in names.items()}
    keys = {column: column.strip().lower() for column in columns}
    for wanted, name in own.items():
        if wanted not in keys.values():
            raise CatalogError(
                f"{path} has no column {wanted}, which ingest.columns gives for {name} (it has "
                f"{', '.join(columns) or 'none'}); correct ingest.columns or the file"
            )
    return {
        column: own.get(key) or (f"file's {column}" if key in names else column)
        for column, key in keys.items()
    }
