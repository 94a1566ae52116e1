"""The `per-label` protocol: each (turn, item) pair counts once, as in CIKM'23.

He et al., "Large Language Models as Zero-Shot Conversational Recommenders", for comparing with
their numbers. A turn with three ground-truth items is three cases of one item each, so Recall@k and
the hit rate are the same, NDCG@k of a hit is 1/log2(rank + 1), and a post with many answers weighs
more. A written title stands for the catalog name nearest by edit distance. Lines that are more than
MOST_EDITS away from every name, or name something already mentioned, are dropped and later ones
move up; a pair whose item was already mentioned is left out, as in their row "recommendation".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from convrec.metrics.registry import WIDTH, ListBatch, ListToScore
from convrec.metrics.relevance import Titled
from convrec.titles.line_format import TITLE_YEAR, LineFormat, parse_answer

MOST_EDITS = 2


class Names:
    """The names of a catalog as lines are written, and the nearest one to any text."""

    def __init__(self, items: Iterable[Titled], form: LineFormat = TITLE_YEAR) -> None:
        self.form = form
        self._names = list(dict.fromkeys(form.format(*item) for item in items))
        self._known = set(self._names)
        self.nearest = lru_cache(maxsize=1 << 16)(self._nearest)

    def _nearest(self, text: str) -> str | None:
        """The name at most MOST_EDITS edits away, the first of equals; None where there is none."""
        if text in self._known:
            return text
        found = process.extractOne(
            text, self._names, scorer=Levenshtein.distance, score_cutoff=MOST_EDITS
        )
        return str(found[0]) if found else None

    def read(self, completion: str) -> list[str]:
        """The names that a list's lines stand for, in order; the others are dropped."""
        written = (self.form.format(*item) for _, item in parse_answer(completion, self.form))
        return [name for text in written if (name := self.nearest(text)) is not None]

    def of(self, item: Titled) -> str:
        """The name of a title and year; their own line where no name is near."""
        text = self.form.format(*item)
        return self.nearest(text) or text


def match_per_label(lists: Sequence[ListToScore], names: Names) -> ListBatch:
    """One row a (list, ground-truth item) pair; `Batch.owner` says which list it belongs to."""
    owners: list[int] = []
    ranks: list[int | None] = []
    for position, asked in enumerate(lists):
        seen = {names.of(item) for item in asked.seen}
        kept = [name for name in names.read(asked.completion) if name not in seen]
        for label in labels(asked.seen, asked.ground_truth, names):
            owners.append(position)
            ranks.append(label_rank(kept, label))
    return as_batch(owners, ranks)


def labels(seen: Sequence[Titled], ground_truth: Sequence[Titled], names: Names) -> list[str]:
    """The names to find: the ground truth, as often as it is given, but for what was mentioned."""
    mentioned = {names.of(item) for item in seen}
    return [name for item in ground_truth if (name := names.of(item)) not in mentioned]


def label_rank(names: Sequence[str], label: str) -> int | None:
    """The rank, from 1, at which a list first names the label; None where it does not."""
    return names.index(label) + 1 if label in names else None


def as_batch(owners: Sequence[int], ranks: Sequence[int | None]) -> ListBatch:
    """Pairs with the rank of their hit, as rows of a batch with one ground truth each."""
    relevance = np.zeros((len(ranks), WIDTH))
    for row, rank in enumerate(ranks):
        if rank is not None and rank <= WIDTH:
            relevance[row, rank - 1] = 1.0
    return ListBatch(
        relevance=relevance,
        reward_relevance=relevance,
        truths=np.ones(len(ranks), dtype=np.int64),
        owner=np.array(owners, dtype=np.int64),
    )
