"""Cross-fitting: a fit never sees the ground truth of the lists that it ranks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import polars as pl
import pytest

from convrec.config import Config
from convrec.stages.adjust import ADJUSTMENT, DEMONSTRATIONS
from convrec.stages.adjust.folds import context_folds, contexts_left_out
from convrec.stages.base import StepContext
from convrec.utils.folds import fold_item_id, fold_of

Frames = dict[str, pl.DataFrame]
MakeCtx = Callable[..., StepContext]
FOLDS = 3


@pytest.fixture
def dialogue_ctx(make_ctx: MakeCtx) -> MakeCtx:
    """A context in which ten training contexts make a dialogue: `train00`, `train01`, ..."""

    def make(frames: Frames, **adjust: object) -> StepContext:
        ctx = make_ctx(frames, **{"folds": FOLDS, **adjust})
        ingest = ctx.config.ingest.model_copy(update={"dialogue": "^([a-z]+..)"})
        return replace(ctx, config=ctx.config.model_copy(update={"ingest": ingest}))

    return make


def with_other_truth(frames: Frames, contexts: list[str]) -> Frames:
    """The ground truth of some contexts is replaced by an item that all lists may have."""
    other = pl.lit(pl.Series([[{"title": "Film 0", "year": 1990}]]).first())
    chosen = pl.col("context_id").is_in(contexts)
    truth = pl.when(chosen).then(other).otherwise("ground_truth").alias("ground_truth")
    return {**frames, "conversations": frames["conversations"].with_columns(truth)}


def rows_of_fold(rows: pl.DataFrame, fold: int) -> pl.DataFrame:
    names = [fold_item_id(fold, f"i{item}") for item in range(30)]
    found = rows.filter(pl.col("item_id").is_in(names))
    assert found["item_id"].to_list() == names
    return found


def train_contexts(frames: Frames) -> pl.DataFrame:
    contexts = frames["conversations"].filter(pl.col("split") == "train")["context_id"].unique()
    return contexts.sort().to_frame().with_row_index("context")


def test_a_dialogue_is_in_one_fold(adjust_frames: Frames, dialogue_ctx: MakeCtx) -> None:
    contexts = train_contexts(adjust_frames)
    folds = context_folds(dialogue_ctx(adjust_frames), contexts)
    expected = [fold_of(name[:7], FOLDS) for name in contexts["context_id"]]
    assert folds.tolist() == expected
    assert set(expected) == {1, 2, 3}, "the test needs contexts in every fold"
    held_out = pl.DataFrame({"context_id": ["validation000", "test000"]})
    assert context_folds(dialogue_ctx(adjust_frames), held_out).tolist() == [0, 0]


def test_a_fit_leaves_out_all_of_a_shared_dialogue(
    adjust_frames: Frames, dialogue_ctx: MakeCtx
) -> None:
    frames, contexts = dict(adjust_frames), train_contexts(adjust_frames)
    text = contexts["context_id"]
    home = fold_of("train00", FOLDS)
    other = next(name for name in text if fold_of(name[:7], FOLDS) != home)
    shared = frames["conversations"].filter(pl.col("context_id") == "train000").head(1)
    frames["conversations"] = pl.concat(
        [frames["conversations"], shared.with_columns(sample_id=pl.lit(f"{other}/9"))]
    )
    left_out = contexts_left_out(dialogue_ctx(frames), contexts)
    own = {number for number, name in contexts.iter_rows() if fold_of(name[:7], FOLDS) == home}
    joined = {number for number, name in contexts.iter_rows() if name[:7] == other[:7]}
    assert set(left_out[home].tolist()) == own | joined
    assert 0 in left_out[fold_of(other[:7], FOLDS)].tolist()


@pytest.mark.parametrize("fold", [1, 2, 3])
def test_own_ground_truth_moves_only_other_fits(
    adjust_frames: Frames, dialogue_ctx: MakeCtx, fold: int
) -> None:
    contexts = train_contexts(adjust_frames)["context_id"].to_list()
    own = [name for name in contexts if fold_of(name[:7], FOLDS) == fold]
    changed = with_other_truth(adjust_frames, own)
    before, after = (
        ADJUSTMENT.build(dialogue_ctx(frames)).rows for frames in (adjust_frames, changed)
    )
    assert before.height == 30 * (FOLDS + 1)
    for each in range(FOLDS + 1):
        same = rows_of_fold(before, each).equals(rows_of_fold(after, each))
        assert same == (each == fold), f"fit {each} after a change in fold {fold}"
    lists = [
        DEMONSTRATIONS.build(dialogue_ctx({**frames, "adjustment": rows})).rows
        for frames, rows in ((adjust_frames, before), (changed, after))
    ]
    one, two = (rows.filter(pl.col("context_id").is_in(own)) for rows in lists)
    assert one.equals(two)
    assert one.height == len(own)


def test_folds_rank_training_lists_only(adjust_frames: Frames, dialogue_ctx: MakeCtx) -> None:
    frames = {**adjust_frames, "adjustment": ADJUSTMENT.build(dialogue_ctx(adjust_frames)).rows}
    crossed = DEMONSTRATIONS.build(dialogue_ctx(frames)).rows
    plain = DEMONSTRATIONS.build(dialogue_ctx(frames, folds=0)).rows
    held_out = pl.col("split") != "train"
    assert crossed.filter(held_out).equals(plain.filter(held_out))
    assert not crossed.filter(~held_out).equals(plain.filter(~held_out))
    whole = ADJUSTMENT.build(dialogue_ctx(adjust_frames, folds=0))
    assert rows_of_fold(frames["adjustment"], 0).equals(whole.rows)
    assert "folds" not in whole.figures


def test_ids_name_folds_and_the_dialogue_only_if_set(
    adjust_frames: Frames, dialogue_ctx: MakeCtx
) -> None:
    plain = ADJUSTMENT.config(dialogue_ctx(adjust_frames, folds=0).config)
    assert plain == ADJUSTMENT.config(
        Config.model_validate({"list_length": 5, "adjust": {"ground_truth_first": True}})
    )
    crossed = ADJUSTMENT.config(dialogue_ctx(adjust_frames).config)
    assert crossed == {**plain, "folds": FOLDS, "dialogue": "^([a-z]+..)"}


def test_one_fold_is_refused() -> None:
    with pytest.raises(ValueError, match="one fold leaves nothing to fit on"):
        Config.model_validate({"adjust": {"folds": 1}})
