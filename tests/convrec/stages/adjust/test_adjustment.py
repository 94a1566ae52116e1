"""The adjustment step: what it reads, its rows and its figures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from convrec.errors import InputError
from convrec.stages import contexts, partitions
from convrec.stages.adjust import ADJUSTMENT, DEMONSTRATIONS, candidates, ordered_candidates
from convrec.stages.adjust.ordered_candidates import read_ordered_candidates
from convrec.stages.adjust.top_n import mean_cutoff_score
from convrec.stages.base import StepContext

Frames = dict[str, pl.DataFrame]
MakeCtx = Callable[..., StepContext]


def without_test(frames: Frames) -> Frames:
    keep = ~pl.col("context_id").str.starts_with("test")
    return {
        name: frame if name == "catalog" else frame.filter(keep) for name, frame in frames.items()
    }


def with_other_test(frames: Frames) -> Frames:
    """Every test row differs: ground truth, seen items, candidates, scores."""
    test = pl.col("context_id").str.starts_with("test")
    truth = frames["conversations"]["ground_truth"]
    changed = dict(frames)
    changed["conversations"] = frames["conversations"].with_columns(
        pl.when(test).then(truth.reverse()).otherwise(truth).alias("ground_truth"),
        pl.when(test).then(truth).otherwise("seen").alias("seen"),
    )
    for name in ("candidates", "judgments"):
        changed[name] = frames[name].with_columns(
            pl.when(test).then(pl.col("score") * -7 + 3).otherwise("score").alias("score"),
            pl.when(test).then(pl.lit("i0")).otherwise("item_id").alias("item_id"),
        )
    return changed


@pytest.mark.parametrize("change", [without_test, with_other_test])
def test_the_test_split_is_never_read(
    adjust_frames: Frames, make_ctx: MakeCtx, change: Callable[[Frames], Frames]
) -> None:
    before, after = (
        ADJUSTMENT.build(make_ctx(frames)) for frames in (adjust_frames, change(adjust_frames))
    )
    assert not change(adjust_frames)["candidates"].equals(adjust_frames["candidates"])
    assert before.rows.equals(after.rows)
    assert before.figures == after.figures


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_samples_and_contexts_changes_nothing(
    adjust_frames: Frames, make_ctx: MakeCtx, seed: int
) -> None:
    shuffled = dict(adjust_frames)
    shuffled["conversations"] = adjust_frames["conversations"].sample(
        fraction=1, shuffle=True, seed=seed
    )
    order = adjust_frames["candidates"]["context_id"].unique(maintain_order=True)
    places = pl.DataFrame({"context_id": order.shuffle(seed)}).with_row_index("place")
    for name in ("candidates", "judgments"):
        shuffled[name] = (
            adjust_frames[name]
            .join(places, on="context_id")
            .sort("place", maintain_order=True)
            .drop("place")
        )
    one, other = (ADJUSTMENT.build(make_ctx(frames)) for frames in (adjust_frames, shuffled))
    assert not shuffled["conversations"].equals(adjust_frames["conversations"])
    for column in ("weight", "bias"):
        np.testing.assert_allclose(one.rows[column], other.rows[column], rtol=0, atol=1e-9)
    assert one.figures == other.figures


@pytest.mark.parametrize("size", [1, 7, 60])
def test_many_contexts_are_fitted_block_by_block(
    adjust_frames: Frames, make_ctx: MakeCtx, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    adjust_frames["conversations"] = adjust_frames["conversations"].sample(
        fraction=1, shuffle=True, seed=1
    )
    whole = ADJUSTMENT.build(make_ctx(adjust_frames))
    lists = read_ordered_candidates(make_ctx(adjust_frames), {"train", "validation"})
    for module in (candidates, contexts, ordered_candidates, partitions):
        monkeypatch.setattr(module, "PARTITION", size)
    found = read_ordered_candidates(make_ctx(adjust_frames), {"train", "validation"}).select_split(
        "validation"
    )
    assert len(list(found)) == -(-60 // size)
    for one, other in zip(
        vars(lists.select_split("validation").read_all()).values(),
        vars(found.read_all()).values(),
        strict=True,
    ):
        assert np.array_equal(one, other)
    blocks = ADJUSTMENT.build(make_ctx(adjust_frames))
    for column in ("weight", "bias"):
        np.testing.assert_allclose(blocks.rows[column], whole.rows[column], rtol=0, atol=1e-9)
    assert blocks.figures == whole.figures


def test_a_rebuild_is_bit_identical(adjust_frames: Frames, make_ctx: MakeCtx) -> None:
    assert ADJUSTMENT.build(make_ctx(adjust_frames)).rows.equals(
        ADJUSTMENT.build(make_ctx(adjust_frames)).rows
    )


def test_figures_have_popularity_and_ranking(adjust_frames: Frames, make_ctx: MakeCtx) -> None:
    built = ADJUSTMENT.build(make_ctx(adjust_frames))
    frames = {"before": adjust_frames, "after": {**adjust_frames, "adjustment": built.rows}}
    for when, each in frames.items():
        lists = DEMONSTRATIONS.build(make_ctx(each)).rows.filter(pl.col("split") == "validation")
        coverage = lists["items"].explode().n_unique() / adjust_frames["catalog"].height
        assert built.figures[f"validation catalog coverage {when}"] == round(coverage, 4)
        for name in ("popularity Gini", "top-50 share", "Recall@20", "NDCG@20"):
            assert f"validation {name} {when}" in built.figures
    losses = [float(built.figures[f"validation loss {when}"]) for when in ("after", "before")]
    assert losses == sorted(losses)
    assert built.figures["balance chosen on"] == "validation"


def test_items_that_the_teacher_favors_are_lowered(
    adjust_frames: Frames, make_ctx: MakeCtx
) -> None:
    built = ADJUSTMENT.build(make_ctx(adjust_frames))
    assert built.figures["Gini lower beyond noise"] == "true"
    moved = built.rows["bias"].to_numpy()
    center = mean_cutoff_score(read_ordered_candidates(make_ctx(adjust_frames), {"train"}), 5)
    at_cutoff = (built.rows["weight"].to_numpy() - 1) * center + moved
    assert at_cutoff[:8].mean() < at_cutoff[8:].mean()


def test_figures_without_validation(adjust_frames: Frames, make_ctx: MakeCtx) -> None:
    alone = dict(adjust_frames)
    alone["conversations"] = adjust_frames["conversations"].filter(pl.col("split") != "validation")
    figures = ADJUSTMENT.build(make_ctx(alone)).figures
    assert figures["ended"] == "converged, without validation to stop early"
    assert figures["balance chosen on"] == "train"
    assert "train popularity Gini after" in figures
    assert "validation loss after" not in figures


def test_a_balance_of_zero_leaves_the_fit_alone(adjust_frames: Frames, make_ctx: MakeCtx) -> None:
    built = ADJUSTMENT.build(make_ctx(adjust_frames, balance=0.0, bias_pull=1e12, pull=1e12))
    np.testing.assert_allclose(built.rows["weight"], 1, atol=1e-6)
    np.testing.assert_allclose(built.rows["bias"], 0, atol=1e-6)
    assert built.figures["balance chosen on"] == "nothing: it was set"


def test_unjudged_candidates_keep_s_remap(adjust_frames: Frames, make_ctx: MakeCtx) -> None:
    lists = read_ordered_candidates(make_ctx(adjust_frames), {"train"}).read_all()
    judged = adjust_frames["judgments"].filter(pl.col("context_id") == "train000")["score"]
    remapped = adjust_frames["candidates"].filter(pl.col("context_id") == "train000")["score"]
    assert lists.scores[:11].tolist() == [*judged[1:], *remapped[6:]], "the first is seen"


def test_judgments_are_optional(adjust_frames: Frames, make_ctx: MakeCtx) -> None:
    frames = {name: frame for name, frame in adjust_frames.items() if name != "judgments"}
    assert ADJUSTMENT.build(make_ctx(frames)).rows.height == 30


def test_nothing_to_learn_from_is_an_error(adjust_frames: Frames, make_ctx: MakeCtx) -> None:
    frames = dict(adjust_frames)
    frames["conversations"] = adjust_frames["conversations"].filter(pl.col("split") != "train")
    with pytest.raises(InputError, match=r"remap\.keep"):
        ADJUSTMENT.build(make_ctx(frames))
