"""top_columns against a stable sort."""

from __future__ import annotations

import numpy as np
import pytest

from convrec.utils.topk import top_columns


@pytest.mark.parametrize("count", [1, 5, 50, 80])
@pytest.mark.parametrize("levels", [2, 4, 1000])
def test_top_columns_equal_those_of_a_stable_sort(count: int, levels: int) -> None:
    scores = np.random.default_rng(count).integers(0, levels, (40, 60)).astype(np.float32)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    assert np.array_equal(top_columns(scores, count), expected)


def test_a_row_of_zeros_gives_the_first_columns() -> None:
    assert top_columns(np.zeros((2, 9), dtype=np.float32), 3).tolist() == [[0, 1, 2]] * 2
