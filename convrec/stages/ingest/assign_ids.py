"""What hangs on other samples: that no two have the same id, and the split of each.

Both are settled in the columns of `Shelf.ids`, so that a million samples are not a million objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from convrec.stages.ingest.splits import SPLITS, split_by_hash, split_by_time

if TYPE_CHECKING:
    import polars as pl

Unfit = list[tuple[str, int, str]]
"""Source, line and reason of each sample that cannot be used beside the others."""


def assign_sample_ids(ids: pl.DataFrame) -> tuple[pl.DataFrame, Unfit]:
    """Samples with an id each: the given one, else the context's id and a number.

    An id that comes again from another source gets the name of that source before it; one that
    comes again all the same is unfit.
    """
    import polars as pl

    nameless = pl.col("sample_id") == ""
    if ids.select(nameless.any()).item():
        number = nameless.cum_sum().over("context_id") - 1
        made = pl.when(nameless).then(pl.format("{}/{}", "context_id", number))
        ids = ids.with_columns(made.otherwise("sample_id").alias("sample_id"), given=~nameless)
    else:
        ids = ids.with_columns(given=True)
    renamed: list[tuple[int, str]] = []
    unfit: list[tuple[int, str, int, str]] = []
    seen: dict[str, tuple[str, int]] = {}
    for place, source, line, given, name in _repeated(ids):
        if given and name in seen and seen[name][0] != source:
            name = f"{source}/{name}"
            renamed.append((place, name))
        if name in seen:
            reason = f"repeats the sample_id {name!r} of line {seen[name][1]}"
            unfit.append((place, source, line, reason))
        else:
            seen[name] = source, line
    if renamed:
        names = pl.DataFrame(renamed, {"place": pl.UInt32, "sample_id": pl.String}, orient="row")
        ids = ids.update(names, on="place")
    if unfit:
        ids = ids.filter(~pl.col("place").is_in([place for place, *_ in unfit]))
    return ids.drop("given"), [why for _, *why in unfit]  # type: ignore[misc]


def _repeated(ids: pl.DataFrame) -> Iterator[tuple[int, str, int, bool, str]]:
    """Samples whose id comes more than once, or might once the name of a source is put before."""
    import polars as pl

    if ids["sample_id"].n_unique() == ids.height:
        return
    chosen = ids.filter(pl.col("sample_id").is_duplicated())
    while True:
        longer = chosen.filter("given").select(sample_id=pl.format("{}/{}", "source", "sample_id"))
        names = pl.concat([chosen.select("sample_id"), longer]).unique()
        more = ids.join(names, on="sample_id", how="semi", maintain_order="left")
        if more.height == chosen.height:
            break
        chosen = more
    yield from chosen.select("place", "source", "line", "given", "sample_id").iter_rows()


def assign_splits(ids: pl.DataFrame) -> tuple[pl.DataFrame, Unfit]:
    """Each usable sample with its split; a context is never in two."""
    import polars as pl

    by_context = ids.group_by("context_id", maintain_order=True)
    splits: Sequence[str | None]
    if ids["created_utc"].null_count() < ids.height:
        # By the earliest date of a context, since answers may come a month after the post.
        contexts = by_context.agg(pl.col("created_utc").min())
        times = contexts["created_utc"]
        splits = [None if time is None else split_by_time(time) for time in times]
        reason = pl.lit("no created_utc, which other rows have")
        fit = pl.col("split").is_not_null()
    elif ids.filter(pl.col("file_split") != "")["file_split"].n_unique() < 2:
        contexts = ids.select(pl.col("context_id").unique(maintain_order=True))
        splits = split_by_hash(contexts["context_id"])
        reason, fit = pl.lit(""), pl.lit(True)
    else:
        number = pl.col("file_split").replace_strict(SPLITS, range(len(SPLITS)))
        contexts = by_context.agg(number.min())
        splits = [SPLITS[first] for first in contexts["file_split"]]
        reason = pl.format("its conversation also stands in the {} split", "split")
        fit = pl.col("split") == pl.col("file_split")
    own = contexts.select("context_id", split=pl.Series(splits, dtype=pl.String))
    ids = ids.join(own, on="context_id", maintain_order="left")
    unfit = ids.filter(~fit).select("source", "line", reason)
    return ids.filter(fit), unfit.rows()
