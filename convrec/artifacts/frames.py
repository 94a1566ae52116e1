"""Data frames with the columns of an artifact table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from convrec.artifacts.tables import KINDS

_TYPES: dict[str, Any] = {
    "VARCHAR": pl.String,
    "VARCHAR[]": pl.List(pl.String),
    "INTEGER": pl.Int32,
    "BIGINT": pl.Int64,
    "STRUCT(title VARCHAR, year INTEGER)[]": pl.List(
        pl.Struct({"title": pl.String, "year": pl.Int32})
    ),
}


def artifact_frame(kind: str, rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows as a frame with the columns and types of one kind of artifact."""
    return pl.DataFrame(list(rows), schema={n: _TYPES[sql] for n, sql in KINDS[kind].items()})
