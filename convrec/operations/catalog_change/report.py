"""Compares the demonstrations before and after a rebuild, and the figures of both.

Lines are compared, not item ids, because the student is shown lines: a renamed item is another
line. Edits are traced by item id.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from convrec.artifacts import Store
from convrec.artifacts.last_build import PreviousBuild
from convrec.catalog.diff import CatalogDiff
from convrec.utils.files import atomic_path

KEY = ("context_id", "sample_id", "split")
_EDIT_SCHEMA = pl.Schema(
    {
        "title": pl.String,
        "year": pl.Int64,
        "change": pl.String,
        "old_title": pl.String,
        "old_year": pl.Int64,
        "old": pl.String,
        "new": pl.String,
    }
)


@dataclass(frozen=True)
class ChangeReport:
    """Two sets of demonstrations compared.

    `lines` has one row per line of each changed demonstration: context_id, sample_id, split, item,
    rank_before and rank_after (from 1, null if the line is not in the list). `changed` has one row
    per changed demonstration: the same key, the lists `entered` and `left`, and the number of lines
    that `moved`. `figures` are (name, before, after), None if a set lacks the figure. `edits` has
    one row per edited item (title, year, change; old_title and old_year if it is renamed) with the
    number of lists that name it `before` and `after`, and of changed lists that name it in either.
    `explained` changed lists name one.
    `train_lines` is the number of lines in the new training lists.
    """

    old_id: str
    new_id: str
    total: int
    lines: pl.DataFrame
    changed: pl.DataFrame
    figures: list[tuple[str, Any, Any]]
    edits: pl.DataFrame
    explained: int
    train_lines: int

    @property
    def kinds(self) -> dict[str, int]:
        """The number of changed demonstrations by what happened to their lines."""
        entered, left = (self.changed[name].list.len() > 0 for name in ("entered", "left"))
        return {
            "exchanged lines": int((entered & left).sum()),
            "only gained lines": int((entered & ~left).sum()),
            "only lost lines": int((left & ~entered).sum()),
            "only changed their order": self.reordered,
        }

    @property
    def reordered(self) -> int:
        """The number of changed demonstrations with the same lines in another order."""
        exchanged = self.changed["entered"].list.len() + self.changed["left"].list.len()
        return int((exchanged == 0).sum())

    @property
    def moves(self) -> list[int]:
        """By how many ranks each line moved that stayed in its changed list."""
        moved = (self.lines["rank_after"] - self.lines["rank_before"]).abs().drop_nulls()
        return moved.filter(moved > 0).to_list()

    @property
    def new_train_lines(self) -> int:
        """The lines that entered training lists."""
        entered = (pl.col("split") == "train") & pl.col("rank_before").is_null()
        return self.lines.filter(entered).height

    def write_lines(self, path: Path) -> None:
        """Write `lines` to a CSV file, atomically."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as part:
            self.lines.write_csv(part)


def compare_demonstrations(
    store: Store, old_id: str, new_id: str, diff: CatalogDiff | None = None
) -> ChangeReport:
    """Compare two artifacts of kind `demonstrations`, whose catalogs differ by `diff`.

    Raises InputError if one is missing.
    """
    rows = [store.read(artifact_id) for artifact_id in (old_id, new_id)]
    old, new = (_demonstration_lines(each) for each in rows)
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
    edits, explained = _trace_edits(_edited_items(diff), rows[0], rows[1], changed)
    return ChangeReport(
        old_id=old_id,
        new_id=new_id,
        total=total,
        lines=lines,
        changed=changed.sort(exchanged, "moved", "context_id", descending=[True, True, False]),
        figures=[(name, old_figures.get(name), new_figures.get(name)) for name in names],
        edits=edits,
        explained=explained,
        train_lines=new.filter(split="train").height,
    )


def _edited_items(diff: CatalogDiff | None) -> pl.DataFrame:
    """One row per edit, with the columns of _EDIT_SCHEMA.

    `old` and `new` are the item's ids in the two catalogs. An added item has no old id, and a
    removed one no new id. Only a renamed item has an old title and year.
    """
    if diff is None:
        return pl.DataFrame(schema=_EDIT_SCHEMA)
    ids = {
        "added": {"new": "item_id"},
        "removed": {"old": "item_id"},
        "renamed": {"old": "old_item_id", "new": "item_id"},
        "changed": {"old": "item_id", "new": "item_id"},
    }
    frames = []
    for change, frame in diff.by_change.items():
        columns = {side: pl.col(column) for side, column in ids[change].items()}
        if "old_title" in frame.columns:
            columns |= {name: pl.col(name) for name in ("old_title", "old_year")}
        columns |= {"title": pl.col("title"), "year": pl.col("year"), "change": pl.lit(change)}
        missing = {name: pl.lit(None) for name in _EDIT_SCHEMA if name not in columns}
        edits = frame.select(**columns, **missing).select(_EDIT_SCHEMA.names())
        frames.append(edits.cast(_EDIT_SCHEMA))
    return pl.concat(frames)


def _trace_edits(
    edits: pl.DataFrame, old: pl.DataFrame, new: pl.DataFrame, changed: pl.DataFrame
) -> tuple[pl.DataFrame, int]:
    """How many lists name each edited item, and how many changed lists name any of them."""
    edits = edits.with_row_index("edit")
    named = []
    for side, demonstrations in (("old", old), ("new", new)):
        lists = demonstrations.select(KEY, items=pl.col("items").list.unique()).explode("items")
        numbers = edits.select("edit", items=side).drop_nulls()
        named.append(lists.join(numbers, on="items").select("edit", *KEY))
    either = pl.concat(named).unique().join(changed, on=KEY, how="semi", nulls_equal=True)
    for column, lists in (("before", named[0]), ("after", named[1]), ("changed", either)):
        counts = lists.group_by("edit").agg(pl.len().alias(column))
        edits = edits.join(counts, on="edit", how="left", maintain_order="left")
    edits = edits.with_columns(pl.col("before", "after", "changed").fill_null(0))
    edits = edits.sort("changed", "edit", descending=[True, False])
    return edits.drop("edit", "old", "new"), either.select(KEY).unique().height


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
