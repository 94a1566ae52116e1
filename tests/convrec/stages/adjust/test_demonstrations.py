from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import polars as pl
import pytest

from convrec.errors import InputError
from convrec.stages.adjust import ADJUSTMENT, DEMONSTRATIONS
from convrec.stages.base import StepContext

Frames = dict[str, pl.DataFrame]
MakeCtx = Callable[..., StepContext]


def adjusted(frames: Frames, make_ctx: MakeCtx) -> Frames:
    return {**frames, "adjustment": ADJUSTMENT.build(make_ctx(frames)).rows}


def test_one_list_per_context_in_conversation_order(
    adjust_frames: Frames, make_ctx: MakeCtx
) -> None:
    rows = DEMONSTRATIONS.build(make_ctx(adjusted(adjust_frames, make_ctx))).rows
    order = adjust_frames["conversations"]["context_id"].unique(maintain_order=True)
    assert rows["context_id"].to_list() == order.to_list()
    assert rows["sample_id"].null_count() == rows.height
    assert (rows["items"].list.len() == 5).all()
    first = rows.row(0, named=True)
    expected = [f"Film {i[1:]} ({1990 + int(i[1:])})" for i in first["items"]]
    assert first["completion"].split("\n") == expected


def test_lists_leave_out_seen_items(adjust_frames: Frames, make_ctx: MakeCtx) -> None:
    rows = DEMONSTRATIONS.build(make_ctx(adjusted(adjust_frames, make_ctx))).rows
    seen = adjust_frames["conversations"].select("context_id", pl.col("seen").list.first()).unique()
    both = rows.join(seen.unnest("seen"), on="context_id", how="left")
    assert both.height == rows.height
    assert both["title"].null_count() == 0
    assert not any(
        f"{title} (" in text for title, text in both.select("title", "completion").rows()
    )


def test_an_item_without_adjustment_keeps_its_score(
    adjust_frames: Frames, make_ctx: MakeCtx
) -> None:
    none = pl.DataFrame({"item_id": ["gone"], "weight": [9.0], "bias": [9.0]})
    plain = DEMONSTRATIONS.build(make_ctx(adjust_frames))
    same = DEMONSTRATIONS.build(make_ctx({**adjust_frames, "adjustment": none}))
    assert plain.rows.equals(same.rows)
    assert "test popularity Gini after" not in plain.figures


def test_a_context_with_only_seen_items_has_an_empty_list(
    adjust_frames: Frames, make_ctx: MakeCtx
) -> None:
    frames = dict(adjust_frames)
    everything = adjust_frames["catalog"].select(
        pl.struct("title", pl.col("year").cast(pl.Int32)).implode()
    )
    frames["conversations"] = adjust_frames["conversations"].with_columns(
        pl.when(pl.col("context_id") == "train001")
        .then(pl.lit(everything.to_series()))
        .otherwise("seen")
        .alias("seen")
    )
    built = DEMONSTRATIONS.build(make_ctx(frames))
    row = built.rows.filter(pl.col("context_id") == "train001").row(0, named=True)
    assert (row["items"], row["completion"]) == ([], "")
    assert built.figures["shorter than list_length"] == 1


def test_a_context_without_a_teacher_list_has_no_row(
    adjust_frames: Frames, make_ctx: MakeCtx
) -> None:
    frames = dict(adjust_frames)
    for name in ("candidates", "judgments"):
        frames[name] = adjust_frames[name].filter(pl.col("context_id") != "train001")
    rows = DEMONSTRATIONS.build(make_ctx(frames)).rows
    assert "train001" not in rows["context_id"].to_list()
    assert rows.height == 139


def test_test_ground_truth_changes_neither_rows_nor_figures(
    adjust_frames: Frames, make_ctx: MakeCtx
) -> None:
    frames = adjusted(adjust_frames, make_ctx)
    truth = frames["conversations"]["ground_truth"]
    changed = dict(frames)
    changed["conversations"] = frames["conversations"].with_columns(
        pl.when(pl.col("split") == "test")
        .then(truth.reverse())
        .otherwise(truth)
        .alias("ground_truth")
    )
    one, other = (DEMONSTRATIONS.build(make_ctx(f)) for f in (frames, changed))
    assert one.rows.equals(other.rows)
    assert one.figures == other.figures


def test_figures_compare_before_and_after(adjust_frames: Frames, make_ctx: MakeCtx) -> None:
    figures = DEMONSTRATIONS.build(make_ctx(adjusted(adjust_frames, make_ctx))).figures
    assert figures["train lists"] == 60
    for name in ("train popularity Gini", "test catalog coverage", "validation Recall@20"):
        assert {f"{name} before", f"{name} after"} <= set(figures)
    assert float(figures["train popularity Gini after"]) < float(
        figures["train popularity Gini before"]
    )


def test_provided_completions_are_unchanged(adjust_frames: Frames, make_ctx: MakeCtx) -> None:
    written = "Film 3 (1993)\nFilm 99 (2001)\nno such line\nFilm 4 (1994)\n"
    provided = [written, "", None]
    frames = dict(adjust_frames)
    frames["conversations"] = (
        adjust_frames["conversations"]
        .head(3)
        .with_columns(pl.Series("completion", provided, dtype=pl.String))
    )
    ctx = make_ctx(frames)
    recommend = ctx.config.recommend.model_copy(update={"source": "provided"})
    ctx = replace(ctx, config=ctx.config.model_copy(update={"recommend": recommend}))
    built = DEMONSTRATIONS.build(ctx)
    (row,) = built.rows.to_dicts()
    assert row["sample_id"] == frames["conversations"]["sample_id"][0]
    assert (row["items"], row["completion"]) == (["i3", "i4"], written.strip("\n"))
    assert built.figures == {"train lists": 1, "in catalog": 0.5}
    frames["conversations"] = frames["conversations"].tail(2)
    with pytest.raises(InputError, match="needs a `completion`"):
        DEMONSTRATIONS.build(replace(ctx, frames=frames))
