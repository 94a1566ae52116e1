from __future__ import annotations

import numpy as np
import pytest

from convrec.utils.topk import top_columns


@pytest.mark.parametrize("keep", [1, 5, 50, 80])
@pytest.mark.parametrize("levels", [2, 4, 1000])
def test_the_best_columns_are_those_of_a_stable_sort_of_everything(keep: int, levels: int) -> None:
    scores = np.random.default_rng(keep).integers(0, levels, (40, 60)).astype(np.float32)
    whole = np.argsort(-scores, axis=1, kind="stable")[:, :keep]
    assert np.array_equal(top_columns(scores, keep), whole)


def test_a_row_of_zeros_keeps_the_first_columns() -> None:
    assert top_columns(np.zeros((2, 9), dtype=np.float32), 3).tolist() == [[0, 1, 2]] * 2
