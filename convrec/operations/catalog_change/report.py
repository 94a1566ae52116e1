"""Compares the demonstrations before and after a rebuild, and the figures of both.

Lines are compared, not item ids, because the student is shown lines: a renamed item is another
line.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from convrec.artifacts import Store
from convrec.artifacts.last_build import PreviousBuild
from convrec.utils.files import atomic_path

KEY = ("context_id", "sample_id", "split")


@dataclass(frozen=True)
class ChangeReport:
    """Two sets of demonstrations compared.

    `lines` has one row per line of each changed demonstration: context_id, sample_id, split, item,
    rank_before and rank_after (from 1, null if the line is not in the list). `changed` has one row
    per changed demonstration: the same key, the lists `entered` and `left`, and the number of lines
    that `moved`. `figures` are (name, before, after), None if a set lacks the figure.
    """

    old_id: str
    new_id: str
    total: int
    lines: pl.DataFrame
    changed: pl.DataFrame
    figures: list[tuple[str, Any, Any]]

    @property
    def reordered(self) -> int:
        """The number of changed demonstrations with the same lines in another order."""
        exchanged = self.changed["entered"].list.len() + self.changed["left"].list.len()
        return int((exchanged == 0).sum())

    def write_lines(self, path: Path) -> None:
        """Write `lines` to a CSV file, atomically."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as part:
            self.lines.write_csv(part)


def compare_demonstrations(store: Store, old_id: str, new_id: str) -> ChangeReport:
    """Compare two artifacts of kind `demonstrations`. Raises InputError if one is missing."""
    old, new = (_demonstration_lines(store.read(artifact_id)) for artifact_id in (old_id, new_id))
    both = old.join(
        new, on=[*KEY, "item", "copy"], how="full", coalesce=True, nulls_equal=True
    ).rename({"rank": "rank_before", "rank_right": "rank_after"})
    differs = pl.col("rank_before").ne_missing(pl.col("rank_after"))
    changed_keys = both.filter(differs).select(KEY).unique()
    lines = (
        both.join(changed_keys, on=KEY, how="semi", nulls_equal=True)
        .drop("copy")
        .sort(*KEY, "rank_after", "rank_before", nulls_last=True)
    )
    left, entered = pl.col("rank_after").is_null(), pl.col("rank_before").is_null()
    changed = lines.group_by(KEY, maintain_order=True).agg(
        pl.col("item").filter(entered).alias("entered"),
        pl.col("item").filter(left).alias("left"),
        (differs & ~left & ~entered).sum().alias("moved"),
    )
    exchanged = pl.col("entered").list.len() + pl.col("left").list.len()
    old_figures, new_figures = (store.header(key).figures for key in (old_id, new_id))
    names = dict.fromkeys([*new_figures, *old_figures])  # in the order of the new artifact
    total = pl.concat([old.select(KEY), new.select(KEY)]).unique().height
    return ChangeReport(
        old_id=old_id,
        new_id=new_id,
        total=total,
        lines=lines,
        changed=changed.sort(exchanged, "moved", "context_id", descending=[True, True, False]),
        figures=[(name, old_figures.get(name), new_figures.get(name)) for name in names],
    )


def report_path(store: Store, previous: PreviousBuild, new_id: str) -> Path:
    """The path of a report's lines, next to the warehouse."""
    old = previous.refs["demonstrations"].artifact_id.rpartition("-")[2]
    return store.home / "changes" / f"{old}-{new_id.rpartition('-')[2]}.csv"


def _demonstration_lines(demonstrations: pl.DataFrame) -> pl.DataFrame:
    """One row per line: the key, item, rank (from 1), and `copy`, the number of earlier repeats."""
    lines = (
        demonstrations.select(*KEY, pl.col("completion").str.split("\n").alias("item"))
        .with_columns(pl.int_ranges(1, pl.col("item").list.len() + 1).alias("rank"))
        .explode("item", "rank")
    )
    return lines.with_columns(pl.int_range(pl.len()).over([*KEY, "item"]).alias("copy"))
