"""Reading Parquet and Arrow files of other programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from convrec.errors import InputError
from convrec.utils.error_text import first_line

BATCH_ROWS = 4096
"""Rows that `read_batches` holds in memory."""


def read_batches(path: Path, *, arrow: bool = False) -> Iterator[pl.DataFrame]:
    """The rows of a file as `read_table` reads them, a few thousand at a time.

    Raises InputError if the file cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pa.memory_map(str(path)) as source:
            if arrow:
                batches = iter(pa.ipc.open_stream(source))
            else:
                batches = pq.ParquetFile(source).iter_batches(BATCH_ROWS)
            for batch in batches:
                yield pl.DataFrame(pa.Table.from_batches([batch]))
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError, ValueError) as error:
        reason = first_line(error)
    else:
        return
    raise _unreadable(path, reason, arrow)


def read_table(path: Path, *, arrow: bool = False) -> pl.DataFrame:
    """Read a Parquet file or, with `arrow`, an Arrow file of a `datasets` folder.

    Raises InputError if it cannot be read; polars may panic on a damaged file.
    """
    try:
        return pl.read_ipc_stream(path) if arrow else pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        reason = first_line(error)
    raise _unreadable(path, reason, arrow)


def _unreadable(path: Path, reason: str, arrow: bool) -> InputError:
    kind = "an Arrow file of datasets" if arrow else "Parquet"
    return InputError(f"{path} cannot be read as {kind} ({reason}); write the file again")
