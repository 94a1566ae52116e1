"""Reading Parquet and Arrow files of other programs."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from convrec.errors import InputError
from convrec.utils.error_text import first_line


def read_table(path: Path, *, arrow: bool = False) -> pl.DataFrame:
    """Read a Parquet file or, with `arrow`, an Arrow file of a `datasets` folder.

    Raises InputError if it cannot be read; polars may panic on a damaged file.
    """
    try:
        return pl.read_ipc_stream(path) if arrow else pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        reason = first_line(error)
    kind = "an Arrow file of datasets" if arrow else "Parquet"
    raise InputError(f"{path} cannot be read as {kind} ({reason}); write the file again")
