from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from convrec.stages.adjust.ordered_candidates import SplitData, read_ordered_candidates, read_split
from convrec.stages.adjust.popularity_penalty import (
    choose_penalty,
    gini_change_bound,
    log_listing_ratio,
)
from convrec.stages.adjust.top_n import top_items
from convrec.stages.base import StepContext


def test_listing_ratio_is_zero_at_the_mean_and_bounded() -> None:
    found = log_listing_ratio(np.array([0.0, 4.0, 8.0]))
    np.testing.assert_allclose(found, [np.log(0.5), 0.0, np.log(1.5)])


def test_gini_change_bound_of_clearly_more_even_lists() -> None:
    same = np.zeros((40, 1), dtype=np.int32)
    even = np.arange(40, dtype=np.int32)[:, None] % 8
    assert gini_change_bound(same, even, 8) < 0
    assert gini_change_bound(even, same, 8) > 0
    assert gini_change_bound(same, same, 8) == 0
    assert gini_change_bound(same[:0], same[:0], 8) == 0


def close_call(make_ctx: Callable[..., StepContext]) -> SplitData:
    """Item a is always just ahead of one of b, c, d, and never the ground truth."""
    others = [("b", "c", "d")[n % 3] for n in range(30)]
    titles = {"a": "Film 0", "b": "Film 1", "c": "Film 2", "d": "Film 3"}
    owners = [f"c{n:02}" for n in range(30)]
    frames = {
        "catalog": pl.DataFrame(
            {"item_id": list(titles), "title": list(titles.values()), "year": [1] * 4}
        ),
        "conversations": pl.DataFrame(
            {
                "sample_id": owners,
                "context_id": owners,
                "split": ["validation"] * 30,
                "seen": pl.Series(
                    [[]] * 30, dtype=pl.List(pl.Struct({"title": pl.String, "year": pl.Int32}))
                ),
                "ground_truth": [[{"title": titles[other], "year": 1}] for other in others],
            }
        ),
        "candidates": pl.DataFrame(
            {
                "context_id": np.repeat(owners, 2),
                "item_id": [item for other in others for item in ("a", other)],
                "score": [1.0, 0.9] * 30,
            }
        ),
    }
    ctx = make_ctx(frames)
    return read_split(ctx, "validation", read_ordered_candidates(ctx))


def test_the_best_ranking_with_a_lower_gini_is_chosen(
    make_ctx: Callable[..., StepContext],
) -> None:
    split = close_call(make_ctx)
    listing_ratio = log_listing_ratio(np.array([30.0, 0, 0, 0]))
    choice = choose_penalty(split, 1, np.ones(4), np.zeros(4), listing_ratio, None)
    assert choice.lowers_gini
    assert choice.balance == 0.1, "the smallest that puts b, c and d in front"
    assert (choice.after[:, 0] > 0).all()


def test_a_configured_balance_is_kept_without_an_effect(
    make_ctx: Callable[..., StepContext],
) -> None:
    split = close_call(make_ctx)
    choice = choose_penalty(split, 1, np.ones(4), np.zeros(4), np.zeros(4), 0.3)
    assert (choice.balance, choice.lowers_gini) == (0.3, False)
    assert (choice.after == top_items(split.candidates.read_all(), 1)).all()


def test_without_a_lower_gini_the_balance_is_zero(
    make_ctx: Callable[..., StepContext],
) -> None:
    split = close_call(make_ctx)
    choice = choose_penalty(split, 1, np.ones(4), np.zeros(4), np.zeros(4), None)
    assert (choice.balance, choice.lowers_gini) == (0.0, False)
