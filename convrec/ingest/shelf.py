"""Samples on disk, while their names and splits are settled: for that their ids are enough.

So what is in memory of a conversation is its ids, not its text, and its rows go to the warehouse
from a file. Neither file is compressed: both are read once, and soon.
"""

from __future__ import annotations

import contextlib
import tempfile
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import TYPE_CHECKING

from convrec.artifacts.parts import Parts
from convrec.artifacts.tables import KINDS
from convrec.ingest.files import Raw
from convrec.ingest.samples import Sample, Title
from convrec.partitions import write_tables

if TYPE_CHECKING:
    import pyarrow as pa

FULL = 4096
"""Samples that are put on disk at once."""

_NONE: list[Title] = []


class Shelf:
    """Takes samples and gives them back without their texts; `parts` has them with all."""

    def __init__(self) -> None:
        self._held = contextlib.ExitStack()
        folder = tempfile.TemporaryDirectory(prefix="convrec-ingest-")
        self._folder = Path(self._held.enter_context(folder))
        self._waiting: list[Sample] = []
        self._files: list[Path] = []
        self._count = 0

    def put(self, sample: Sample) -> Sample:
        """Keep a sample; the same sample without what takes room, but with its place."""
        self._waiting.append(sample)
        source, split, line = sample.raw[:3]
        light = Sample(
            raw=Raw(source, split, line, None, "", ""),
            sample_id=sample.sample_id,
            context_id=sample.context_id,
            group=sample.group,
            created_utc=sample.created_utc,
            conversation="",
            prompt=None,
            seen=_NONE,
            ground_truth=_NONE,
            completion=None,
            place=self._count,
        )
        self._count += 1
        if len(self._waiting) == FULL:
            self._put_away()
        return light

    def parts(self, placed: Iterable[tuple[Sample, str]]) -> Parts:
        """The conversations: these samples with their split, in the order in which they came."""
        places, names, splits = [], [], []
        for sample, split in placed:
            places.append(sample.place)
            names.append(sample.sample_id)
            splits.append(split)
        self._put_away()
        path = self._folder / "conversations.parquet"
        tables = self._settled(places, names, splits)
        write_tables(tables, path, compression="none", use_dictionary=False)
        return Parts((path,), self._held)

    def _settled(
        self, places: list[int], names: list[str], splits: list[str]
    ) -> Iterator[pa.Table]:
        """The rows of each file that are in `places` (ascending), with their names and splits."""
        import polars as pl
        import pyarrow as pa

        first = start = 0
        for file in self._files:
            with pa.memory_map(str(file)) as source:
                table = pa.ipc.open_file(source).read_all()
                stop = bisect_left(places, first + table.num_rows, start)
                wanted = pl.Series(places[start:stop], dtype=pl.Int64) - first
                rows = table.take(wanted.to_arrow())
                for name, values in (("sample_id", names), ("split", splits)):
                    rows = rows.append_column(name, _texts(values[start:stop]))
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
        self._waiting = []


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
