"""Samples on disk, while their names and splits are settled: for that their ids are enough.

So what is in memory of a conversation is its ids, in columns, and its rows go to the warehouse from
a file. Neither file is compressed: both are read once, and soon.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convrec.artifacts.parquet_rows import ParquetRows
from convrec.artifacts.tables import KINDS
from convrec.stages.ingest.samples import Sample, Title
from convrec.stages.partitions import write_tables

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

FULL = 4096
"""Samples that are put on disk at once."""


class SampleBuffer:
    """Takes samples; `ids` has what they are known by, and `parts` the rows of those chosen."""

    def __init__(self) -> None:
        self._held = contextlib.ExitStack()
        folder = tempfile.TemporaryDirectory(prefix="convrec-ingest-")
        self._folder = Path(self._held.enter_context(folder))
        self._waiting: list[Sample] = []
        self._files: list[Path] = []
        self._ids: list[pl.DataFrame] = []

    def put(self, sample: Sample) -> None:
        """Keep a sample."""
        self._waiting.append(sample)
        if len(self._waiting) == FULL:
            self._put_away()

    def ids(self) -> pl.DataFrame:
        """One row a sample, in order: place (its number), and `id_columns`."""
        import polars as pl

        self._put_away()
        return pl.concat([_ids([]), *self._ids], rechunk=True).with_row_index("place")

    def parts(self, chosen: pl.DataFrame) -> ParquetRows:
        """The conversations: samples by their place (ascending), with their sample_id and split."""
        path = self._folder / "conversations.parquet"
        write_tables(self._settled(chosen), path, compression="none", use_dictionary=False)
        return ParquetRows((path,), self._held)

    def _settled(self, chosen: pl.DataFrame) -> Iterator[pa.Table]:
        """The rows of each file that are chosen, with their names and splits."""
        import pyarrow as pa

        first = start = 0
        for file in self._files:
            with pa.memory_map(str(file)) as source:
                table = pa.ipc.open_file(source).read_all()
                stop = int(chosen["place"].search_sorted(first + table.num_rows))
                own = chosen[start:stop]
                rows = table.take((own["place"] - first).to_arrow())
                for name in ("sample_id", "split"):
                    rows = rows.append_column(name, own[name].to_arrow())
                yield rows.select(list(KINDS["conversations"]))
            first, start = first + table.num_rows, stop
            file.unlink()

    def _put_away(self) -> None:
        import pyarrow as pa

        if not self._waiting:
            return
        table = _table(self._waiting)
        self._files.append(self._folder / f"{len(self._files):06}.arrow")
        with pa.ipc.new_file(str(self._files[-1]), table.schema) as writer:
            writer.write_table(table)
        self._ids.append(_ids(self._waiting))
        self._waiting = []


def id_columns() -> dict[str, Any]:
    """The columns of `Shelf.ids` beside `place`, and their types."""
    import polars as pl

    return {
        "source": pl.String,
        "file_split": pl.String,
        "line": pl.Int64,
        "sample_id": pl.String,
        "context_id": pl.String,
        "created_utc": pl.Int64,
    }


def _ids(samples: list[Sample]) -> pl.DataFrame:
    import polars as pl

    columns = [
        [sample.raw.source for sample in samples],
        [sample.raw.split for sample in samples],
        [sample.raw.line for sample in samples],
        [sample.sample_id for sample in samples],
        [sample.context_id for sample in samples],
        [sample.created_utc for sample in samples],
    ]
    return pl.DataFrame(columns, id_columns(), orient="col")


def _table(samples: list[Sample]) -> pa.Table:
    """The columns of samples that are settled from the start."""
    import polars as pl
    import pyarrow as pa

    return pa.table(
        {
            "context_id": _texts([s.context_id for s in samples]),
            "created_utc": pl.Series([s.created_utc for s in samples], dtype=pl.Int64).to_arrow(),
            "conversation": _texts([s.conversation for s in samples]),
            "prompt": _texts([s.prompt for s in samples]),
            "seen": _titles([s.seen for s in samples]),
            "ground_truth": _titles([s.ground_truth for s in samples]),
            "completion": _texts([s.completion for s in samples]),
        }
    )


def _texts(values: Sequence[str | None]) -> pa.Array:
    """A column of text; by polars, since pyarrow imports pandas to look at a list."""
    import polars as pl

    return pl.Series(values, dtype=pl.String).to_arrow()


def _titles(lists: list[list[Title]]) -> pa.Array:
    """Lists of titles as one column."""
    import polars as pl
    import pyarrow as pa

    flat = list(chain.from_iterable(lists))
    years = pl.Series([title["year"] for title in flat], dtype=pl.Int32).to_arrow()
    ends = pl.Series(list(accumulate(map(len, lists), initial=0)), dtype=pl.Int64).to_arrow()
    both = pa.StructArray.from_arrays(
        [_texts([title["title"] for title in flat]), years], ["title", "year"]
    )
    return pa.LargeListArray.from_arrays(ends, both)
