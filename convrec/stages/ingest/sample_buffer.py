"""Buffers samples on disk until their ids and splits are assigned.

Only the ids of a sample stay in memory, in columns. The rows go to the warehouse from a file. The
files are not compressed, because each is read once and soon deleted.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain
from pathlib import Path

import polars as pl
import pyarrow as pa

from convrec.artifacts.parquet_rows import ParquetRows
from convrec.artifacts.tables import KINDS
from convrec.stages.ingest.samples import Sample, Title, thread_id
from convrec.stages.partitions import write_tables

BATCH_SIZE = 4096
"""Samples written to a file at once."""

ID_SCHEMA = {
    "source": pl.String,
    "file_split": pl.String,
    "line": pl.Int64,
    "sample_id": pl.String,
    "context_id": pl.String,
    "created_utc": pl.Int64,
    "thread_id": pl.String,
}
"""The columns of `SampleBuffer.ids`, after `position`."""


class SampleBuffer:
    """Collects samples, then writes the selected ones as conversations."""

    def __init__(self) -> None:
        self._resources = contextlib.ExitStack()
        folder = tempfile.TemporaryDirectory(prefix="convrec-ingest-")
        self._folder = Path(self._resources.enter_context(folder))
        self._pending: list[Sample] = []
        self._files: list[Path] = []
        self._ids: list[pl.DataFrame] = []

    def add(self, sample: Sample) -> None:
        """Add a sample."""
        self._pending.append(sample)
        if len(self._pending) == BATCH_SIZE:
            self._flush()

    def ids(self) -> pl.DataFrame:
        """One row per sample, in order: `position` (its number) and the columns of ID_SCHEMA."""
        self._flush()
        parts = [pl.DataFrame(schema=ID_SCHEMA), *self._ids]
        return pl.concat(parts, rechunk=True).with_row_index("position")

    def write_conversations(self, selected: pl.DataFrame) -> ParquetRows:
        """The rows of the selected samples, as a Parquet file.

        `selected` has columns position (ascending), sample_id and split.
        """
        path = self._folder / "conversations.parquet"
        write_tables(self._selected(selected), path, compression="none", use_dictionary=False)
        return ParquetRows((path,), self._resources)

    def _selected(self, selected: pl.DataFrame) -> Iterator[pa.Table]:
        """The selected rows of each file, with their ids and splits."""
        first = start = 0
        for file in self._files:
            with pa.memory_map(str(file)) as source:
                table = pa.ipc.open_file(source).read_all()
                stop = int(selected["position"].search_sorted(first + table.num_rows))
                in_file = selected[start:stop]
                rows = table.take((in_file["position"] - first).to_arrow())
                for name in ("sample_id", "split"):
                    rows = rows.append_column(name, in_file[name].to_arrow())
                yield rows.select(list(KINDS["conversations"]))
            first, start = first + table.num_rows, stop
            file.unlink()

    def _flush(self) -> None:
        if not self._pending:
            return
        table = _sample_table(self._pending)
        self._files.append(self._folder / f"{len(self._files):06}.arrow")
        with pa.ipc.new_file(str(self._files[-1]), table.schema) as writer:
            writer.write_table(table)
        ids = [
            (*s.raw[:3], s.sample_id, s.context_id, s.created_utc, thread_id(s.conversation))
            for s in self._pending
        ]
        self._ids.append(pl.DataFrame(ids, ID_SCHEMA, orient="row"))
        self._pending = []


def _sample_table(samples: list[Sample]) -> pa.Table:
    """The columns of `conversations`, without sample_id and split."""
    return pa.table(
        {
            "context_id": _text_array([s.context_id for s in samples]),
            "created_utc": pl.Series([s.created_utc for s in samples], dtype=pl.Int64).to_arrow(),
            "conversation": _text_array([s.conversation for s in samples]),
            "prompt": _text_array([s.prompt for s in samples]),
            "seen": _title_array([s.seen for s in samples]),
            "ground_truth": _title_array([s.ground_truth for s in samples]),
            "completion": _text_array([s.completion for s in samples]),
        }
    )


def _text_array(values: Sequence[str | None]) -> pa.Array:
    """A column of text. Built by polars, because pyarrow imports pandas for a list."""
    return pl.Series(values, dtype=pl.String).to_arrow()


def _title_array(lists: list[list[Title]]) -> pa.Array:
    """A column of lists of titles."""
    flat = list(chain.from_iterable(lists))
    years = pl.Series([title["year"] for title in flat], dtype=pl.Int32).to_arrow()
    ends = pl.Series(list(accumulate(map(len, lists), initial=0)), dtype=pl.Int64).to_arrow()
    titles = pa.StructArray.from_arrays(
        [_text_array([title["title"] for title in flat]), years], ["title", "year"]
    )
    return pa.LargeListArray.from_arrays(ends, titles)
