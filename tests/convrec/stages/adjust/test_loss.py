from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
from scipy.optimize import check_grad

from convrec.stages.adjust.loss import ListBlock, ListwiseData, listwise_data, listwise_loss
from convrec.stages.adjust.ordered_candidates import read_ordered_candidates, read_split
from convrec.stages.base import StepContext


def two_lists() -> ListwiseData:
    return ListwiseData(
        [
            ListBlock(
                items=np.array([0, 1, 2, 1, 2]),
                scores=np.array([0.5, 1.0, 0.2, 0.3, 0.9]),
                target=np.array([1.0, 0.0, 0.0, 0.5, 0.5]),
                starts=np.array([0, 3]),
            )
        ],
        2,
    )


def test_the_loss_is_the_listwise_softmax_cross_entropy() -> None:
    start = np.array([1.0, 1, 1, 0, 0, 0])
    first = -np.log(np.exp(0.5) / (np.exp(0.5) + np.exp(1.0) + np.exp(0.2)))
    total = np.exp(0.3) + np.exp(0.9)
    second = -0.5 * (np.log(np.exp(0.3) / total) + np.log(np.exp(0.9) / total))
    loss, _ = listwise_loss(start, two_lists())
    assert np.isclose(loss, (first + second) / 2)


def test_two_samples_of_one_context_cost_the_same_merged() -> None:
    separate = ListwiseData(
        [
            ListBlock(
                items=np.array([0, 1, 0, 1]),
                scores=np.array([0.5, 1.0, 0.5, 1.0]),
                target=np.array([1.0, 0.0, 0.5, 0.5]),
                starts=np.array([0, 2]),
            )
        ],
        2,
    )
    merged = ListwiseData(
        [
            ListBlock(
                items=np.array([0, 1]),
                scores=np.array([0.5, 1.0]),
                target=np.array([1.5, 0.5]),
                starts=np.array([0]),
            )
        ],
        2,
    )
    point = np.array([1.2, 0.7, -0.3, 0.4])
    for one, other in zip(
        listwise_loss(point, separate), listwise_loss(point, merged), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_the_gradient_matches_finite_differences() -> None:
    point = np.random.default_rng(0).normal(size=6)
    data = two_lists()
    error = check_grad(
        lambda x: listwise_loss(x, data, 0.7, 2.0)[0],
        lambda x: listwise_loss(x, data, 0.7, 2.0)[1],
        point,
    )
    assert error < 1e-6


def test_regularization_is_towards_weight_1_and_bias_0() -> None:
    moved = np.array([1.0, 1, 2, 0, 0, 3])
    regularized, _ = listwise_loss(moved, two_lists(), 1.0, 2.0)
    free, _ = listwise_loss(moved, two_lists())
    assert np.isclose(regularized - free, (1.0 + 2.0 * 9.0) / 2)


def test_huge_scores_do_not_overflow() -> None:
    loss, gradient = listwise_loss(np.array([1e4, 1e4, 1e4, 0, 0, 0]), two_lists())
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()


def test_seen_items_and_unlisted_ground_truth_are_left_out(
    make_ctx: Callable[..., StepContext],
) -> None:
    def titles(*numbers: int) -> list[dict[str, object]]:
        return [{"title": f"Film {n}", "year": None} for n in numbers]

    frames = {
        "catalog": pl.DataFrame(
            {"item_id": ["a", "b", "c"], "title": [f"Film {n}" for n in range(3)], "year": [1] * 3}
        ),
        "conversations": pl.DataFrame(
            {
                "sample_id": ["1", "2", "3"],
                "context_id": ["x", "x", "y"],
                "split": ["train"] * 3,
                "seen": [titles(2), titles(2), []],
                "ground_truth": [titles(0, 2, 7), titles(0, 1), titles(2)],
            }
        ),
        "candidates": pl.DataFrame(
            {
                "context_id": ["x", "x", "x", "y"],
                "item_id": ["c", "b", "a", "a"],
                "score": [0.9, 0.8, 0.7, 0.6],
            }
        ),
    }
    ctx = make_ctx(frames)
    data = listwise_data(read_split(ctx, "train", read_ordered_candidates(ctx)), center=0.5)
    [(items, scores, target, _)] = data.blocks
    assert items.tolist() == [1, 0], "c is seen, and the list of y has no ground truth"
    np.testing.assert_allclose(scores, [0.3, 0.2])
    np.testing.assert_allclose(target, [0.5, 1.5])
    assert data.samples == 2
