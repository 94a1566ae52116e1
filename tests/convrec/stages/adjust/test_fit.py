"""The adjustment as a whole: what it reads, what it does not, and what it says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from convrec.errors import InputError
from convrec.stages import partitions
from convrec.stages.adjust import ADJUSTMENT, candidates
from convrec.stages.adjust import ordered_candidates as in_order
from convrec.stages.adjust.ordered_candidates import read_ordered_candidates
from convrec.stages.adjust.top_n import cut_score
from convrec.stages.base import StepContext

Frames = dict[str, pl.DataFrame]
Jobs = Callable[..., StepContext]


def without_test(frames: Frames) -> Frames:
    keep = ~pl.col("context_id").str.starts_with("test")
    return {
        name: frame if name == "catalog" else frame.filter(keep) for name, frame in frames.items()
    }


def with_other_test(frames: Frames) -> Frames:
    """Every test row says something else: answers, seen items, candidates, scores."""
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
def test_the_test_split_is_never_seen(
    world: Frames, job_of: Jobs, change: Callable[[Frames], Frames]
) -> None:
    before, after = (ADJUSTMENT.build(job_of(frames)) for frames in (world, change(world)))
    assert not change(world)["candidates"].equals(world["candidates"])
    assert before.rows.equals(after.rows)
    assert before.figures == after.figures


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_samples_and_contexts_changes_nothing(
    world: Frames, job_of: Jobs, seed: int
) -> None:
    mixed = dict(world)
    mixed["conversations"] = world["conversations"].sample(fraction=1, shuffle=True, seed=seed)
    order = world["candidates"]["context_id"].unique(maintain_order=True)
    places = pl.DataFrame({"context_id": order.shuffle(seed)}).with_row_index("place")
    for name in ("candidates", "judgments"):
        mixed[name] = (
            world[name]
            .join(places, on="context_id")
            .sort("place", maintain_order=True)
            .drop("place")
        )
    one, other = (ADJUSTMENT.build(job_of(frames)) for frames in (world, mixed))
    assert not mixed["conversations"].equals(world["conversations"])
    for column in ("weight", "bias"):
        np.testing.assert_allclose(one.rows[column], other.rows[column], rtol=0, atol=1e-9)
    assert one.figures == other.figures


@pytest.mark.parametrize("size", [1, 7, 60])
def test_many_contexts_are_fitted_block_by_block(
    world: Frames, job_of: Jobs, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    world["conversations"] = world["conversations"].sample(fraction=1, shuffle=True, seed=1)
    whole = ADJUSTMENT.build(job_of(world))
    lists = read_ordered_candidates(job_of(world), {"train", "validation"})
    for module in (candidates, in_order, partitions):
        monkeypatch.setattr(module, "PARTITION", size)
    found = read_ordered_candidates(job_of(world), {"train", "validation"}).of_split("validation")
    assert len(list(found)) == -(-60 // size)
    for one, other in zip(
        vars(lists.of_split("validation").whole()).values(),
        vars(found.whole()).values(),
        strict=True,
    ):
        assert np.array_equal(one, other)
    blocks = ADJUSTMENT.build(job_of(world))
    for column in ("weight", "bias"):
        np.testing.assert_allclose(blocks.rows[column], whole.rows[column], rtol=0, atol=1e-9)
    assert blocks.figures == whole.figures


def test_the_same_again_is_the_same_to_the_last_bit(world: Frames, job_of: Jobs) -> None:
    assert ADJUSTMENT.build(job_of(world)).rows.equals(ADJUSTMENT.build(job_of(world)).rows)


def test_figures_hold_popularity_and_ranking_before_and_after(world: Frames, job_of: Jobs) -> None:
    figures = ADJUSTMENT.build(job_of(world)).figures
    for name in ("popularity Gini", "catalog coverage", "top-50 share", "Recall@20", "NDCG@20"):
        for when in ("before", "after"):
            assert 0 <= float(figures[f"validation {name} {when}"]) <= 1
    assert float(figures["validation loss after"]) <= float(figures["validation loss before"])
    assert figures["balance chosen on"] == "validation"


def test_the_teachers_favourites_are_lowered(world: Frames, job_of: Jobs) -> None:
    built = ADJUSTMENT.build(job_of(world))
    assert built.figures["Gini lower beyond noise"] == "true"
    moved = built.rows["bias"].to_numpy()
    centre = cut_score(read_ordered_candidates(job_of(world), {"train"}), 5)
    at_the_cut = (built.rows["weight"].to_numpy() - 1) * centre + moved
    assert at_the_cut[:8].mean() < at_the_cut[8:].mean()


def test_without_validation_the_figures_say_so(world: Frames, job_of: Jobs) -> None:
    alone = dict(world)
    alone["conversations"] = world["conversations"].filter(pl.col("split") != "validation")
    figures = ADJUSTMENT.build(job_of(alone)).figures
    assert figures["ended"] == "converged, without validation to stop early"
    assert figures["balance chosen on"] == "train"
    assert "train popularity Gini after" in figures
    assert "validation loss after" not in figures


def test_a_balance_of_zero_is_the_fit_alone(world: Frames, job_of: Jobs) -> None:
    built = ADJUSTMENT.build(job_of(world, balance=0.0, bias_pull=1e12, pull=1e12))
    np.testing.assert_allclose(built.rows["weight"], 1, atol=1e-6)
    np.testing.assert_allclose(built.rows["bias"], 0, atol=1e-6)
    assert built.figures["balance chosen on"] == "nothing: it was set"


def test_unjudged_candidates_keep_the_score_of_remap(world: Frames, job_of: Jobs) -> None:
    lists = read_ordered_candidates(job_of(world), {"train"}).whole()
    judged = world["judgments"].filter(pl.col("context_id") == "train000")["score"]
    remapped = world["candidates"].filter(pl.col("context_id") == "train000")["score"]
    assert lists.scores[:11].tolist() == [*judged[1:], *remapped[6:]], "the first is seen"


def test_reflect_may_be_left_out(world: Frames, job_of: Jobs) -> None:
    frames = {name: frame for name, frame in world.items() if name != "judgments"}
    assert ADJUSTMENT.build(job_of(frames)).rows.height == 30


def test_nothing_to_learn_from_says_what_to_do(world: Frames, job_of: Jobs) -> None:
    frames = dict(world)
    frames["conversations"] = world["conversations"].filter(pl.col("split") != "train")
    with pytest.raises(InputError, match=r"remap\.keep"):
        ADJUSTMENT.build(job_of(frames))
