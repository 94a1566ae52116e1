"""What a step returns: rows, or files of rows, with figures and failures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from convrec.artifacts.parquet_rows import ParquetRows

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class StepResult:
    """What a step made: rows, figures for people, what failed, and training curves.

    `made` is the rows: one table, or files where there may be too many of them for one.
    `failures` has columns context_id, reason and, optionally, final; `curves` has columns step,
    name, value. An artifact with failures is partial, and the next run tries it again, unless all
    of them are final: answered, but not usably, so that trying again would cost and change nothing.
    """

    output: pl.DataFrame | ParquetRows
    figures: Mapping[str, float | int | str] = field(default_factory=dict)
    failures: pl.DataFrame | None = None
    curves: pl.DataFrame | None = None

    @property
    def rows(self) -> pl.DataFrame:
        """All rows at once."""
        return self.output.frame() if isinstance(self.output, ParquetRows) else self.output

    def close(self) -> None:
        """Let go of the folder that the rows lie in, if they do."""
        if isinstance(self.output, ParquetRows):
            self.output.cleanup.close()
