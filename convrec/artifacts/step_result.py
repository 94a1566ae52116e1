"""What a step returns: rows, or files of rows, with figures and failures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from convrec.artifacts.parquet_rows import ParquetRows


@dataclass(frozen=True)
class StepResult:
    """Rows, figures for people, failed contexts and training curves.

    `output` is one frame, or Parquet files if the rows may not fit into memory. `failures` has the
    columns context_id, reason and, optionally, final; `curves` has step, name and value.

    An artifact with failures is partial, and the next run tries those contexts again. It is
    complete if all failures are final: the endpoint answered, but a retry would not change that.

    `useless` says why a run must not go on with the result, which then is not stored; empty if
    it may.
    """

    output: pl.DataFrame | ParquetRows
    figures: Mapping[str, float | int | str] = field(default_factory=dict)
    failures: pl.DataFrame | None = None
    curves: pl.DataFrame | None = None
    useless: str = ""

    @property
    def rows(self) -> pl.DataFrame:
        """All rows in one frame."""
        return self.output.frame() if isinstance(self.output, ParquetRows) else self.output

    def close(self) -> None:
        """Delete the folder of the Parquet files, if nothing else uses it."""
        if isinstance(self.output, ParquetRows):
            self.output.cleanup.close()
