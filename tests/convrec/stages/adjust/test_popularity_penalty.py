from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from convrec.stages.adjust.ordered_candidates import read_ordered_candidates
from convrec.stages.adjust.popularity_penalty import choose, excess, gini_rise
from convrec.stages.adjust.split import Split, read_split
from convrec.stages.adjust.top_n import top_items
from convrec.stages.base import StepContext


def test_excess_is_zero_at_the_mean_and_bounded_below() -> None:
    found = excess(np.array([0.0, 4.0, 8.0]))
    np.testing.assert_allclose(found, [np.log(0.5), 0.0, np.log(1.5)])


def test_gini_rise_is_sure_of_lists_that_are_clearly_more_even() -> None:
    same = np.zeros((40, 1), dtype=np.int32)
    even = np.arange(40, dtype=np.int32)[:, None] % 8
    assert gini_rise(same, even, 8) < 0
    assert gini_rise(even, same, 8) > 0
    assert gini_rise(same, same, 8) == 0
    assert gini_rise(same[:0], same[:0], 8) == 0


def close_call(job_of: Callable[..., StepContext]) -> Split:
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
    ctx = job_of(frames)
    return read_split(ctx, "validation", read_ordered_candidates(ctx))


def test_the_best_ranking_of_those_with_a_surely_lower_gini(
    job_of: Callable[..., StepContext],
) -> None:
    split = close_call(job_of)
    favour = excess(np.array([30.0, 0, 0, 0]))
    choice = choose(split, 1, np.ones(4), np.zeros(4), favour, None)
    assert choice.lower
    assert choice.balance == 0.1, "the smallest that puts b, c and d in front"
    assert (choice.after[:, 0] > 0).all()


def test_a_balance_that_was_set_is_kept_even_where_it_does_nothing(
    job_of: Callable[..., StepContext],
) -> None:
    split = close_call(job_of)
    choice = choose(split, 1, np.ones(4), np.zeros(4), np.zeros(4), 0.3)
    assert (choice.balance, choice.lower) == (0.3, False)
    assert (choice.after == top_items(split.candidates.whole(), 1)).all()


def test_without_evidence_of_a_lower_gini_nothing_is_lowered(
    job_of: Callable[..., StepContext],
) -> None:
    split = close_call(job_of)
    choice = choose(split, 1, np.ones(4), np.zeros(4), np.zeros(4), None)
    assert (choice.balance, choice.lower) == (0.0, False)
