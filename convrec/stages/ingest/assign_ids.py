"""Assigns what depends on other samples: unique sample ids, and the split of each context.

Both work on the columns of `SampleBuffer.ids`, so that a million samples are not a million objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from convrec.stages.ingest.splits import (
    REDDIT_TIMES,
    SPLITS,
    SplitTimes,
    split_by_hash,
    split_by_time,
)

RejectedSamples = list[tuple[str, int, str]]
"""Source, line and reason of each rejected sample."""


def assign_sample_ids(ids: pl.DataFrame) -> tuple[pl.DataFrame, RejectedSamples]:
    """(samples with unique ids, rejected samples).

    A sample without an id gets the context's id and a number. An id that repeats one of another
    source gets the source's name as a prefix. An id that still repeats is rejected.
    """
    unnamed = pl.col("sample_id") == ""
    number = unnamed.cum_sum().over("context_id") - 1
    numbered = pl.when(unnamed).then(pl.format("{}/{}", "context_id", number))
    ids = ids.with_columns(numbered.otherwise("sample_id").alias("sample_id"), named=~unnamed)
    renamed: list[tuple[int, str]] = []
    rejected: list[tuple[int, str, int, str]] = []
    seen: dict[str, tuple[str, int]] = {}
    for position, source, line, is_named, name in _possible_repeats(ids):
        if is_named and name in seen and seen[name][0] != source:
            name = f"{source}/{name}"
            renamed.append((position, name))
        if name in seen:
            reason = f"repeats the sample_id {name!r} of line {seen[name][1]}"
            rejected.append((position, source, line, reason))
        else:
            seen[name] = source, line
    if renamed:
        schema = {"position": pl.UInt32, "sample_id": pl.String}
        ids = ids.update(pl.DataFrame(renamed, schema, orient="row"), on="position")
    if rejected:
        ids = ids.filter(~pl.col("position").is_in([position for position, *_ in rejected]))
    return ids.drop("named"), [sample for _, *sample in rejected]  # type: ignore[misc]


def _possible_repeats(ids: pl.DataFrame) -> Iterator[tuple[int, str, int, bool, str]]:
    """Samples whose id repeats, or may repeat once a source is prefixed."""
    if ids["sample_id"].n_unique() == ids.height:
        return
    repeats = ids.filter(pl.col("sample_id").is_duplicated())
    height = 0
    while repeats.height > height:
        height = repeats.height
        prefixed = repeats.filter("named").select(pl.format("{}/{}", "source", "sample_id"))
        names = pl.concat([repeats["sample_id"], prefixed.to_series()])
        repeats = ids.filter(pl.col("sample_id").is_in(names.unique().implode()))
    yield from repeats.select("position", "source", "line", "named", "sample_id").iter_rows()


def assign_splits(
    ids: pl.DataFrame, times: SplitTimes | None = REDDIT_TIMES
) -> tuple[pl.DataFrame, RejectedSamples]:
    """(samples with their split, rejected samples); a context is never in two splits.

    Nor is a conversation in another split than its continuations where a hash decides. With
    `times`, dates decide, if there are any.
    """
    by_context = ids.group_by("context_id", maintain_order=True)
    splits: Sequence[str | None]
    if times and ids["created_utc"].null_count() < ids.height:
        # By the earliest date of a context, since answers may come a month after the post.
        contexts = by_context.agg(pl.col("created_utc").min())
        days = contexts["created_utc"]
        splits = [None if day is None else split_by_time(day, times) for day in days]
        reason = pl.lit("no created_utc, which other rows have")
        is_valid = pl.col("split").is_not_null()
    elif set(ids["file_split"].unique()) <= {"", "train"}:
        contexts = ids.select("context_id", "thread_id").unique("context_id", maintain_order=True)
        threads = contexts["thread_id"].unique(maintain_order=True)
        by_thread = dict(zip(threads, split_by_hash(threads), strict=True))
        splits = [by_thread[thread] for thread in contexts["thread_id"]]
        reason, is_valid = pl.lit(""), pl.lit(True)
    else:
        number = pl.col("file_split").replace_strict(SPLITS, range(len(SPLITS)))
        contexts = by_context.agg(number.min())
        splits = [SPLITS[first] for first in contexts["file_split"]]
        reason = pl.format("its conversation also stands in the {} split", "split")
        is_valid = pl.col("split") == pl.col("file_split")
    assigned = contexts.select("context_id", split=pl.Series(splits, dtype=pl.String))
    ids = ids.join(assigned, on="context_id", maintain_order="left")
    rejected = ids.filter(~is_valid).select("source", "line", reason)
    return ids.filter(is_valid), rejected.rows()
