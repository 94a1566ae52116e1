from __future__ import annotations

import numpy as np
import polars as pl

from convrec.stages.adjust.candidates import Candidates
from convrec.stages.adjust.top_n import (
    NO_ITEM,
    final_scores,
    item_counts,
    mean_cutoff_score,
    top_items,
)


def candidates() -> Candidates:
    """Contexts of three, no and two candidates."""
    return Candidates(
        contexts=pl.DataFrame({"context_id": ["c1", "c2", "c3"], "context": [0, 1, 2]}),
        items=np.array([0, 1, 2, 0, 1]),
        scores=np.array([0.9, 0.5, 0.5, 0.1, 0.2]),
        starts=np.array([0, 3, 3]),
        lengths=np.array([3, 0, 2]),
    )


def test_ties_keep_the_order_of_candidates() -> None:
    assert top_items(candidates(), 2).tolist() == [[0, 1], [NO_ITEM, NO_ITEM], [1, 0]]
    assert top_items(candidates(), 3).tolist() == [[0, 1, 2], [NO_ITEM] * 3, [1, 0, NO_ITEM]]


def test_weight_and_bias_move_items() -> None:
    scores = final_scores(candidates(), np.array([0.1, 1, 1]), np.array([0, 0, 0.3]))
    assert top_items(candidates(), 3, scores)[0].tolist() == [2, 1, 0]


def test_cutoff_score_is_the_mean_at_rank_n_or_the_last() -> None:
    assert np.isclose(mean_cutoff_score([candidates()], 2), (0.5 + 0.1) / 2)
    assert np.isclose(mean_cutoff_score([candidates()], 9), (0.5 + 0.1) / 2)
    assert np.isclose(mean_cutoff_score([candidates()], 1), (0.9 + 0.2) / 2)


def test_item_counts_cover_the_whole_catalog() -> None:
    assert item_counts(top_items(candidates(), 2), 4).tolist() == [2, 2, 0, 0]
