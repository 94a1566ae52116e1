"""Tables that others wrote, Parquet and Arrow: read whole, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from convrec.errors import InputError
from convrec.utils.error_text import first_line

if TYPE_CHECKING:
    import polars as pl


def read_table(path: Path, *, arrow: bool = False) -> pl.DataFrame:
    """A Parquet file, or with `arrow` one of a `datasets` folder.

    Raises InputError for one that cannot be read; a damaged file may make polars panic.
    """
    import polars as pl

    try:
        return pl.read_ipc_stream(path) if arrow else pl.read_parquet(path)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        reason = first_line(error)
    kind = "an Arrow file of datasets" if arrow else "Parquet"
    raise InputError(f"{path} cannot be read as {kind} ({reason}); write it again")
