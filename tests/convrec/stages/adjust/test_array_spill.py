from __future__ import annotations

import numpy as np
import pytest

from convrec.stages.adjust.array_spill import ArraySpill


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_blocks_are_unchanged_in_every_iteration(count: int) -> None:
    rng = np.random.default_rng(count)
    blocks = [
        (rng.integers(9, size=size, dtype=np.uint32), rng.random(2 * size), np.empty(0, np.int64))
        for size in range(count)
    ]
    spill = ArraySpill(iter(blocks))
    for _ in range(2):
        found = list(spill)
        assert len(found) == count
        for arrays, expected in zip(found, blocks, strict=True):
            for array, original in zip(arrays, expected, strict=True):
                assert array.dtype == original.dtype
                assert np.array_equal(array, original)
