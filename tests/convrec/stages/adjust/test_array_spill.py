from __future__ import annotations

import numpy as np
import pytest

from convrec.stages.adjust.array_spill import ArraySpill


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_blocks_come_back_as_they_were_as_often_as_wanted(count: int) -> None:
    rng = np.random.default_rng(count)
    made = [
        (rng.integers(9, size=size, dtype=np.uint32), rng.random(2 * size), np.empty(0, np.int64))
        for size in range(count)
    ]
    blocks = ArraySpill(iter(made))
    for _ in range(2):
        found = list(blocks)
        assert len(found) == count
        for arrays, wanted in zip(found, made, strict=True):
            for array, one in zip(arrays, wanted, strict=True):
                assert array.dtype == one.dtype
                assert np.array_equal(array, one)
