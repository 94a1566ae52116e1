"""Samples on disk, while their names and splits are settled: for that their ids are enough.

So what is in memory of a conversation is its ids, not its text, and its rows go to the warehouse
from a file. Neither file is compressed: both are read once, and soon.
"""

from __future__ import annotations

import contextlib
import tempfile
from bisect import bisect_left
from collections.abc import Iterable, Iterator
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
        import pyarrow as pa
        import pyarrow.compute as pc

        first = start = 0
        for file in self._files:
            with pa.memory_map(str(file)) as source:
                table = pa.ipc.open_file(source).read_all()
                stop = bisect_left(places, first + table.num_rows, start)
                wanted = pa.array(places[start:stop], pa.int64())
                rows = table.take(pc.subtract(wanted, first))
                for name, values in (("sample_id", names), ("split", splits)):
                    rows = rows.append_column(name, pa.array(values[start:stop], pa.large_string()))
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
    import pyarrow as pa

    text = pa.large_string()
    return pa.table(
        {
            "context_id": pa.array([s.context_id for s in samples], text),
            "created_utc": pa.array([s.created_utc for s in samples], pa.int64()),
            "conversation": pa.array([s.conversation for s in samples], text),
            "prompt": pa.array([s.prompt for s in samples], text),
            "seen": _titles([s.seen for s in samples]),
            "ground_truth": _titles([s.ground_truth for s in samples]),
            "completion": pa.array([s.completion for s in samples], text),
        }
    )


def _titles(lists: list[list[Title]]) -> pa.Array:
    """Lists of titles as one column."""
    import pyarrow as pa

    flat = list(chain.from_iterable(lists))
    titles = pa.array([title["title"] for title in flat], pa.large_string())
    years = pa.array([title["year"] for title in flat], pa.int32())
    ends = pa.array(accumulate(map(len, lists), initial=0), pa.int64())
    both = pa.StructArray.from_arrays([titles, years], ["title", "year"])
    return pa.LargeListArray.from_arrays(ends, both)
