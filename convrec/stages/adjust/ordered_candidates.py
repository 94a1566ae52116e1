"""Candidates in the order of their contexts, which is not that of their rows.

Blocks come as the rows follow each other and are put on disk; a block in order is gathered from all
of them. So memory holds the candidates of PARTITION contexts, however many contexts there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from convrec.stages.adjust.array_spill import ArraySpill
from convrec.stages.adjust.candidates import Candidates, candidate_blocks, read_contexts
from convrec.stages.partitions import PARTITION

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import polars as pl

    from convrec.stages.base import StepContext


class OrderedCandidates:
    """The candidates of `contexts` (context_id, context, split), PARTITION contexts at a time."""

    def __init__(self, contexts: pl.DataFrame, blocks: ArraySpill, first: int = 0) -> None:
        self.contexts = contexts
        self._blocks, self._first = blocks, first

    def of_split(self, split: str) -> OrderedCandidates:
        """Those of one split; its contexts are numbered from 0."""
        import polars as pl

        chosen = self.contexts.filter(pl.col("split") == split)  # one after the other
        first = self._first + int(chosen["context"][0]) if chosen.height else 0
        return OrderedCandidates(
            chosen.drop("context").with_row_index("context"), self._blocks, first
        )

    def __iter__(self) -> Iterator[Candidates]:
        for start in range(0, self.contexts.height, PARTITION):
            yield self._gathered(self.contexts.slice(start, PARTITION))

    def whole(self) -> Candidates:
        """All at once."""
        return self._gathered(self.contexts)

    def _gathered(self, contexts: pl.DataFrame) -> Candidates:
        import numpy as np

        start = self._first + (int(contexts["context"][0]) if contexts.height else 0)
        parts = []
        for numbers, lengths, items, scores in self._blocks:
            low, high = np.searchsorted(numbers, (start, start + contexts.height))
            first = lengths[:low].sum()
            place = slice(first, first + lengths[low:high].sum())
            parts.append((numbers[low:high], lengths[low:high], items[place], scores[place]))
        numbers, lengths, items, scores = map(np.concatenate, zip(*parts, strict=True))
        order = np.argsort(numbers)
        found = (np.cumsum(lengths) - lengths)[order]
        lengths = lengths[order]
        starts = np.cumsum(lengths) - lengths
        place = np.arange(len(items)) + np.repeat(found - starts, lengths)
        return Candidates(contexts, items[place], scores[place], starts, lengths)


def read_ordered_candidates(
    ctx: StepContext, splits: Collection[str] | None = None
) -> OrderedCandidates:
    """The candidates of the contexts of `splits` (None: all)."""
    contexts = read_contexts(ctx, splits)
    blocks = (
        (block.numbers, block.lengths, block.items, block.scores)
        for block in candidate_blocks(ctx, contexts)
    )
    return OrderedCandidates(contexts, ArraySpill(blocks))
