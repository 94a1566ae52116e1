"""Ids and splits assigned in columns equal those of a plain loop over the samples."""

from __future__ import annotations

from collections import defaultdict

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from convrec.stages.ingest.assign_ids import assign_sample_ids, assign_splits
from convrec.stages.ingest.sample_buffer import ID_SCHEMA
from convrec.stages.ingest.splits import SPLITS, split_by_time

NAMES = ("", "x", "y", "b/x", "b/b/x", "one/0", "b/one/0")
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.sampled_from(SPLITS),
        st.sampled_from(NAMES),
        st.sampled_from(["one", "two", "three"]),
        st.sampled_from([None, 1_600_000_000, 1_667_260_800, 1_672_531_200]),
    ),
    max_size=12,
)
IdRow = tuple[str, str, str, str, int | None]


def frame(rows: list[IdRow]) -> pl.DataFrame:
    numbered = [(*row[:2], line, *row[2:], row[3]) for line, row in enumerate(rows, 1)]
    return pl.DataFrame(numbered, ID_SCHEMA, orient="row").with_row_index("position")


@given(rows=ROWS)
def test_ids_equal_those_of_a_loop(rows: list[IdRow]) -> None:
    named, repeats = [], []
    answers: dict[str, int] = defaultdict(int)
    seen: dict[str, tuple[str, int]] = {}
    for line, (source, _, name, context, _) in enumerate(rows, 1):
        if not name:
            name = f"{context}/{answers[context]}"
            answers[context] += 1
        elif name in seen and seen[name][0] != source:
            name = f"{source}/{name}"
        if name in seen:
            repeats.append(
                (source, line, f"repeats the sample_id {name!r} of line {seen[name][1]}")
            )
        else:
            seen[name] = source, line
            named.append((line, name))
    assigned, rejected = assign_sample_ids(frame(rows))
    assert assigned.select("line", "sample_id").rows() == named
    assert [tuple(why) for why in rejected] == repeats


@given(rows=ROWS, dated=st.booleans())
def test_no_context_is_in_two_splits(rows: list[IdRow], dated: bool) -> None:
    ids = frame(rows if dated else [(*row[:4], None) for row in rows])
    assigned, rejected = assign_splits(ids)
    assert assigned.height + len(rejected) == len(rows)
    assert (
        assigned.group_by("context_id").agg(pl.col("split").n_unique())["split"].to_list()
        == [1] * assigned["context_id"].n_unique()
    )
    times: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        if dated and row[4] is not None:
            times[row[3]].append(row[4])
    if times:
        wanted = [(row[3], split_by_time(min(times[row[3]]))) for row in rows if row[3] in times]
        assert assigned.select("context_id", "split").rows() == wanted
    elif len({row[1] for row in rows}) > 1:
        first = {row[3]: min(SPLITS.index(r[1]) for r in rows if r[3] == row[3]) for row in rows}
        wanted = [(row[3], row[1]) for row in rows if SPLITS.index(row[1]) == first[row[3]]]
        assert assigned.select("context_id", "split").rows() == wanted
    else:
        assert not rejected
