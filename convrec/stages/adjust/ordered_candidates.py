"""Candidates in the order of their contexts, which differs from the order of their rows.

Blocks are written to disk in row order; a block in context order is gathered from all of them. So
memory holds the candidates of PARTITION contexts, however many contexts there are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np
import polars as pl

from convrec.stages.adjust.array_spill import ArraySpill
from convrec.stages.adjust.candidates import Candidates, candidate_blocks, read_contexts
from convrec.stages.adjust.ground_truth import GroundTruth, read_ground_truth
from convrec.stages.base import StepContext
from convrec.stages.contexts import PARTITION


class OrderedCandidates:
    """The candidates of `contexts` (context_id, context, split), PARTITION contexts at a time.

    `context` numbers the contexts from 0, in order. `blocks` are tuples (context numbers, lengths,
    items, scores) in row order; `offset` is the number in them of the first context.
    """

    def __init__(self, contexts: pl.DataFrame, blocks: ArraySpill, offset: int = 0) -> None:
        self.contexts = contexts
        self._blocks, self._offset = blocks, offset

    def select_split(self, split: str) -> OrderedCandidates:
        """The candidates of one split, its contexts numbered from 0."""
        chosen = self.contexts.filter(pl.col("split") == split)  # contiguous: sorted by split
        offset = self._offset + int(chosen["context"][0]) if chosen.height else 0
        return OrderedCandidates(
            chosen.drop("context").with_row_index("context"), self._blocks, offset
        )

    def __iter__(self) -> Iterator[Candidates]:
        for start in range(0, self.contexts.height, PARTITION):
            yield self._gather(self.contexts.slice(start, PARTITION))

    def read_all(self) -> Candidates:
        """All candidates in memory."""
        return self._gather(self.contexts)

    def _gather(self, contexts: pl.DataFrame) -> Candidates:
        start = self._offset + (int(contexts["context"][0]) if contexts.height else 0)
        parts = []
        for numbers, lengths, items, scores in self._blocks:
            low, high = np.searchsorted(numbers, (start, start + contexts.height))
            first = lengths[:low].sum()
            positions = slice(first, first + lengths[low:high].sum())
            parts.append(
                (numbers[low:high], lengths[low:high], items[positions], scores[positions])
            )
        numbers, lengths, items, scores = map(np.concatenate, zip(*parts, strict=True))
        order = np.argsort(numbers)
        old_starts = (np.cumsum(lengths) - lengths)[order]
        lengths = lengths[order]
        starts = np.cumsum(lengths) - lengths
        source = np.arange(len(items)) + np.repeat(old_starts - starts, lengths)
        return Candidates(contexts, items[source], scores[source], starts, lengths)


def read_ordered_candidates(
    ctx: StepContext, splits: Collection[str] | None = None
) -> OrderedCandidates:
    """Read the candidates of the contexts of `splits` (None: all)."""
    contexts = read_contexts(ctx, splits)
    blocks = (
        (block.context_numbers, block.lengths, block.items, block.scores)
        for block in candidate_blocks(ctx, contexts)
    )
    return OrderedCandidates(contexts, ArraySpill(blocks))


class SplitData(NamedTuple):
    """Candidates and ground truth of one split, with the same context numbers."""

    candidates: OrderedCandidates
    ground_truth: GroundTruth


def read_split(ctx: StepContext, split: str, candidates: OrderedCandidates) -> SplitData:
    """Select the candidates of a split and read its ground truth."""
    chosen = candidates.select_split(split)
    return SplitData(chosen, read_ground_truth(ctx, split, chosen.contexts))
