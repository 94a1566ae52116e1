"""Training demonstrations that begin with the ground truth."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from convrec.config import Config
from convrec.stages.adjust import DEMONSTRATIONS
from convrec.stages.base import StepContext

Frames = dict[str, pl.DataFrame]
MakeCtx = Callable[..., StepContext]


def truth_items(row: dict[str, object]) -> list[str]:
    """The items in a sample's ground truth that the catalog has and the conversation does not."""
    seen = [title["title"] for title in row["seen"]]  # type: ignore[attr-defined]
    titles = [title["title"] for title in row["ground_truth"]]  # type: ignore[attr-defined]
    return [
        f"i{title.removeprefix('Film ')}" for title in titles if title not in (*seen, "Film 99")
    ]


def test_each_training_sample_begins_with_its_own(adjust_frames: Frames, make_ctx: MakeCtx) -> None:
    plain = DEMONSTRATIONS.build(make_ctx(adjust_frames)).rows
    built = DEMONSTRATIONS.build(make_ctx(adjust_frames, ground_truth_first=True))
    rows = built.rows.filter(pl.col("split") == "train")
    samples = adjust_frames["conversations"].filter(pl.col("split") == "train")
    assert rows["sample_id"].to_list() == samples["sample_id"].to_list()
    lists = dict(plain.select("context_id", "items").iter_rows())
    moved = 0
    for row, sample in zip(rows.to_dicts(), samples.to_dicts(), strict=True):
        truth = truth_items(sample)
        others = [item for item in lists[row["context_id"]] if item not in truth]
        assert row["items"] == [*truth, *others][:5]
        assert len(row["completion"].split("\n")) == 5
        moved += row["items"] != lists[row["context_id"]]
    assert moved > 30, "most lists must change for the test to say something"
    assert built.figures["train lists"] == samples.height


def test_held_out_lists_do_not_change(adjust_frames: Frames, make_ctx: MakeCtx) -> None:
    plain = DEMONSTRATIONS.build(make_ctx(adjust_frames)).rows
    first = DEMONSTRATIONS.build(make_ctx(adjust_frames, ground_truth_first=True)).rows
    held_out = pl.col("split") != "train"
    assert plain.filter(held_out).height == 80
    assert first.filter(held_out).equals(plain.filter(held_out))


def test_another_sample_of_the_context_is_not_told(
    adjust_frames: Frames, make_ctx: MakeCtx
) -> None:
    """Two samples of one context have lists of their own."""
    rows = DEMONSTRATIONS.build(make_ctx(adjust_frames, ground_truth_first=True)).rows
    pairs = rows.filter(pl.col("context_id") == "train001")
    assert pairs["sample_id"].to_list() == ["train001/0", "train001/1"]
    samples = adjust_frames["conversations"].filter(pl.col("context_id") == "train001").to_dicts()
    firsts = [truth_items(sample)[0] for sample in samples]
    assert pairs["items"].list.first().to_list() == firsts


def test_only_a_new_setting_moves_ids(adjust_frames: Frames, make_ctx: MakeCtx) -> None:
    plain = DEMONSTRATIONS.config(make_ctx(adjust_frames).config)
    first = DEMONSTRATIONS.config(make_ctx(adjust_frames, ground_truth_first=True).config)
    assert first == {**plain, "ground_truth_first": True}


def test_provided_lists_are_not_changed() -> None:
    with pytest.raises(ValueError, match="the lists in the data are taken as they are"):
        Config.model_validate(
            {"recommend": {"source": "provided"}, "adjust": {"ground_truth_first": True}}
        )
