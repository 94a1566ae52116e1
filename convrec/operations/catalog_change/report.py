"""What a rebuild changed: each demonstration before and after, and the measures of both sets.

Lines are compared, not ids: what the student is shown is what counts, and a renamed item is
another line.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convrec.utils.files import atomic_path

if TYPE_CHECKING:
    import polars as pl

    from convrec.artifacts import Store
    from convrec.artifacts.last_build import Build

KEY = ("context_id", "sample_id", "split")


@dataclass(frozen=True)
class ChangeReport:
    """Two sets of demonstrations side by side.

    `lines` has one row for each line of each demonstration that changed: context_id, sample_id,
    split, item, rank_before and rank_after (from 1, null where the line is not in the list).
    `changed` has one row for each of these demonstrations: the same key, the lists `entered` and
    `left`, and how many lines `moved`. `measures` are (name, before, after), null where a set has
    none.
    """

    old_id: str
    new_id: str
    total: int
    lines: pl.DataFrame
    changed: pl.DataFrame
    measures: list[tuple[str, Any, Any]]

    @property
    def reordered(self) -> int:
        """How many of the changed demonstrations hold the same lines in another order."""
        both = self.changed.select("entered", "left")
        return both.filter(
            (both["entered"].list.len() == 0) & (both["left"].list.len() == 0)
        ).height

    def write(self, path: Path) -> None:
        """Write `lines` as CSV, under a temporary name first."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as part:
            self.lines.write_csv(part)


def change_report(store: Store, old_id: str, new_id: str) -> ChangeReport:
    """Compare two demonstrations artifacts. Raises InputError where one is not there."""
    import polars as pl

    old, new = _lines(store.read(old_id)), _lines(store.read(new_id))
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
    gone, came = pl.col("rank_after").is_null(), pl.col("rank_before").is_null()
    changed = lines.group_by(KEY, maintain_order=True).agg(
        pl.col("item").filter(came).alias("entered"),
        pl.col("item").filter(gone).alias("left"),
        (differs & ~gone & ~came).sum().alias("moved"),
    )
    most = pl.col("entered").list.len() + pl.col("left").list.len()
    total = pl.concat([old.select(KEY), new.select(KEY)]).unique().height
    return ChangeReport(
        old_id=old_id,
        new_id=new_id,
        total=total,
        lines=lines,
        changed=changed.sort(most, "moved", "context_id", descending=[True, True, False]),
        measures=_measures(store.header(old_id).figures, store.header(new_id).figures),
    )


def report_path(store: Store, before: Build, new_id: str) -> Path:
    """Where the lines of a report are kept, beside the warehouse."""
    old = before.refs["demonstrations"].artifact_id.rpartition("-")[2]
    return store.home / "changes" / f"{old}-{new_id.rpartition('-')[2]}.csv"


def _lines(demonstrations: pl.DataFrame) -> pl.DataFrame:
    """One row a line: the key, item, rank (from 1), and `copy`, which repeat of the line it is."""
    import polars as pl

    lines = (
        demonstrations.select(*KEY, pl.col("completion").str.split("\n").alias("item"))
        .with_columns(pl.int_ranges(1, pl.col("item").list.len() + 1).alias("rank"))
        .explode("item", "rank")
    )
    return lines.with_columns(pl.int_range(pl.len()).over([*KEY, "item"]).alias("copy"))


def _measures(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """The figures of both artifacts, in the order of the new one."""
    names = [*new, *(name for name in old if name not in new)]
    return [(name, old.get(name), new.get(name)) for name in names]
