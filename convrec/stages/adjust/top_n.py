"""s_final of candidates, and the top N of every context as one array."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from convrec.stages.adjust.candidates import Candidates
from convrec.stages.contexts import PARTITION
from convrec.utils.topk import top_columns

NO_ITEM = -1
"""Fills a list past its end."""


def final_scores(
    candidates: Candidates, weight: np.ndarray, bias: np.ndarray, folds: np.ndarray | None = None
) -> np.ndarray:
    """Compute s_final = w ⊙ s_reflect + b, (candidates,), from w and b, (items,).

    With `folds`, (contexts,), w and b are (folds, items) and each context uses its own row.
    """
    items = candidates.items
    at = items if folds is None else (np.repeat(folds, candidates.lengths), items)
    return np.asarray(weight[at] * candidates.scores + bias[at])


def top_items(candidates: Candidates, n: int, scores: np.ndarray | None = None) -> np.ndarray:
    """(contexts, n) int32 catalog rows of the `n` best, best first, NO_ITEM past the end.

    `scores`, (candidates,), replace the candidates' own. Ties keep the candidates' order.
    """
    scores = candidates.scores if scores is None else scores
    top = np.full((len(candidates.lengths), n), NO_ITEM, dtype=np.int32)
    for contexts, positions in _context_slices(candidates):
        lengths = candidates.lengths[contexts]
        width = max(n, int(lengths.max()))
        filled = np.arange(width) < lengths[:, None]
        padded, items = np.full(filled.shape, -np.inf), np.full(filled.shape, NO_ITEM, np.int32)
        padded[filled], items[filled] = scores[positions], candidates.items[positions]
        top[contexts] = np.take_along_axis(items, top_columns(padded, n), axis=1)
    return top


def _context_slices(candidates: Candidates) -> Iterator[tuple[slice, slice]]:
    """Slices of PARTITION contexts and of their candidates; bounds the padded arrays."""
    ends = candidates.starts + candidates.lengths
    for start in range(0, len(ends), PARTITION):
        stop = min(start + PARTITION, len(ends))
        yield slice(start, stop), slice(int(candidates.starts[start]), int(ends[stop - 1]))


def mean_cutoff_score(blocks: Iterable[Candidates], n: int) -> float:
    """The mean score at rank `n`, or at the last rank of a shorter list; 0 without a list."""
    parts = [np.empty(0)]
    for block in blocks:
        filled = block.lengths > 0
        order = np.lexsort((-block.scores, block.candidate_contexts))
        last = block.starts[filled] + np.minimum(block.lengths[filled], n) - 1
        parts.append(block.scores[order[last]])
    scores = np.concatenate(parts)
    return float(scores.mean()) if len(scores) else 0.0


def listing_counts(blocks: Iterable[Candidates], n: int, count: int) -> np.ndarray:
    """(count,) How often each catalog item is among the `n` best of a context."""
    return sum((item_counts(top_items(block, n), count) for block in blocks), np.zeros(count))


def item_counts(top: np.ndarray, count: int) -> np.ndarray:
    """(count,) How often each catalog item is in the lists."""
    return np.bincount(top[top != NO_ITEM], minlength=count).astype(np.float64)
