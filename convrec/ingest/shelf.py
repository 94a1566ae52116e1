"""Samples on disk, while their names and splits are settled: for that their ids are enough.

So what is in memory of a conversation is its ids, not its text, and its rows go to the warehouse
from a file.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convrec.artifacts.parts import Parts
from convrec.catalog.load import frame
from convrec.ingest.samples import Sample, quarantined, sample_row
from convrec.partitions import write_parquet

if TYPE_CHECKING:
    import polars as pl

FULL = 4096
"""Samples that are put on disk at once."""


class Shelf:
    """Takes samples and gives them back without their texts; `parts` has them with all."""

    def __init__(self) -> None:
        self._held = contextlib.ExitStack()
        folder = tempfile.TemporaryDirectory(prefix="convrec-ingest-")
        self._folder = Path(self._held.enter_context(folder))
        self._waiting: list[dict[str, Any]] = []
        self._files: list[Path] = []
        self._count = 0

    def put(self, sample: Sample) -> Sample:
        """Keep a sample; the same sample without what takes room, but with its place."""
        raw = quarantined(sample.raw, "")["raw"]
        self._waiting.append({**sample_row(sample, ""), "raw": raw, "place": self._count})
        light = sample._replace(
            raw=sample.raw._replace(value=None, text=""),
            conversation="",
            prompt=None,
            seen=[],
            ground_truth=[],
            completion=None,
            place=self._count,
        )
        self._count += 1
        if len(self._waiting) == FULL:
            self._put_away()
        return light

    def parts(self, placed: Iterable[tuple[Sample, str]]) -> Parts:
        """The conversations: these samples with their split, in the order in which they came."""
        import polars as pl

        told = [(sample.place, sample.sample_id, split) for sample, split in placed]
        settled = pl.DataFrame(told, schema=["place", "sample_id", "split"], orient="row")
        del told
        columns = frame("conversations", []).columns
        path = self._folder / "conversations.parquet"

        def rows() -> Iterator[pl.DataFrame]:
            for kept in self._kept():
                named = kept.drop("sample_id", "split").join(
                    settled, on="place", maintain_order="left"
                )
                yield named.select(columns)

        write_parquet(rows(), path)
        for file in self._files:
            file.unlink()
        return Parts((path,), self._held)

    def raw(self, places: list[int]) -> dict[int, str]:
        """What the rows of some samples said, as the quarantine shows it."""
        import polars as pl

        found: dict[int, str] = {}
        if places:
            for kept in self._kept():
                asked = kept.filter(pl.col("place").is_in(places))
                found |= dict(asked.select("place", "raw").iter_rows())
        return found

    def _kept(self) -> Iterator[pl.DataFrame]:
        import polars as pl

        if self._waiting or not self._files:
            self._put_away()
        for file in self._files:
            yield pl.read_parquet(file)

    def _put_away(self) -> None:
        import polars as pl

        rows = frame("conversations", self._waiting).with_columns(
            pl.Series("raw", [row["raw"] for row in self._waiting], dtype=pl.String),
            pl.Series("place", [row["place"] for row in self._waiting], dtype=pl.Int64),
        )
        self._files.append(self._folder / f"{len(self._files):06}.parquet")
        rows.write_parquet(self._files[-1])
        self._waiting = []
