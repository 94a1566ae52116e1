"""The N best candidates of every context, as one array."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convrec.stages.partitions import PARTITION
from convrec.utils.topk import top_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np

    from convrec.stages.adjust.candidates import Candidates

NONE = -1
"""Stands where a list has ended."""


def top_items(candidates: Candidates, n: int, scores: np.ndarray | None = None) -> np.ndarray:
    """(contexts, n) catalog rows, best first, NONE past the end; ties keep the candidates' order.

    `scores`, one a candidate, stands in for the candidates' own.
    """
    import numpy as np

    scores = candidates.scores if scores is None else scores
    top = np.full((len(candidates.lengths), n), NONE, dtype=np.int32)
    for contexts, rows in _blocks(candidates):
        lengths = candidates.lengths[contexts]
        width = max(n, int(lengths.max()))
        held = np.arange(width) < lengths[:, None]  # row by row, as the candidates lie
        block, items = np.full(held.shape, -np.inf), np.full(held.shape, NONE, dtype=np.int32)
        block[held], items[held] = scores[rows], candidates.items[rows]
        top[contexts] = np.take_along_axis(items, top_columns(block, n), axis=1)
    return top


def _blocks(candidates: Candidates) -> Iterator[tuple[slice, slice]]:
    """PARTITION contexts at a time, with their candidates: what is sorted is never everything."""
    ends = candidates.starts + candidates.lengths
    for start in range(0, len(ends), PARTITION):
        stop = min(start + PARTITION, len(ends))
        yield slice(start, stop), slice(int(candidates.starts[start]), int(ends[stop - 1]))


def cut_score(blocks: Iterable[Candidates], n: int) -> float:
    """The mean score at rank `n`, or at the last rank of a shorter list; 0 without a list."""
    import numpy as np

    cuts = [np.empty(0)]
    for block in blocks:
        held = block.lengths > 0
        order = np.lexsort((-block.scores, block.owners))
        last = block.starts[held] + np.minimum(block.lengths[held], n) - 1
        cuts.append(block.scores[order[last]])
    found = np.concatenate(cuts)
    return float(found.mean()) if len(found) else 0.0


def final_scores(candidates: Candidates, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """s_final = w·s + b of every candidate."""
    import numpy as np

    return np.asarray(weight[candidates.items] * candidates.scores + bias[candidates.items])


def times_listed(blocks: Iterable[Candidates], n: int, count: int) -> np.ndarray:
    """How often each of `count` catalog items is among the `n` best."""
    import numpy as np

    return sum((item_counts(top_items(block, n), count) for block in blocks), np.zeros(count))


def item_counts(top: np.ndarray, count: int) -> np.ndarray:
    """How often each of `count` catalog items stands in the lists."""
    import numpy as np

    return np.bincount(top[top != NONE], minlength=count).astype(np.float64)
