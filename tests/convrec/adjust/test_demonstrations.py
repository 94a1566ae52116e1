from __future__ import annotations

import polars as pl

from convrec.adjust.demonstrations import final_lists


def scores() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "context_id": ["c2", "c2", "c2", "c1", "c1"],
            "item_id": ["a", "b", "c", "a", "b"],
            "score": [0.9, 0.5, 0.5, 0.1, 0.2],
        }
    )


def test_the_best_unseen_items_in_order_ties_as_they_came() -> None:
    lists = final_lists(scores(), None, {"c2": {"a"}}, 2)
    assert lists == {"c2": ["b", "c"], "c1": ["b", "a"]}


def test_weight_and_bias_move_items() -> None:
    adjustment = pl.DataFrame({"item_id": ["a", "c"], "weight": [0.1, 1.0], "bias": [0.0, 0.3]})
    assert final_lists(scores(), adjustment, {}, 3)["c2"] == ["c", "b", "a"]


def test_a_context_whose_items_are_all_seen_keeps_an_empty_list() -> None:
    assert final_lists(scores(), None, {"c1": {"a", "b"}}, 2)["c1"] == []
