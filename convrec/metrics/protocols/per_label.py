"""The `per-label` protocol: each (turn, item) pair counts once, as in CIKM'23.

Source: He et al., "Large Language Models as Zero-Shot Conversational Recommenders". Use it to
compare with their numbers.

- A turn with three ground-truth items is three cases with one item each. So Recall@k equals the hit
  rate, NDCG@k of a hit is 1/log2(rank + 1), and posts with many answers weigh more.
- A line is mapped to the catalog name with the smallest edit distance. Lines that are more than
  MAX_EDITS edits from every name, or that name a seen item, are dropped, and later lines move up.
- A pair whose item was already seen is left out, as in their row "recommendation".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from convrec.metrics.relevance import TitleAndYear
from convrec.metrics.scored_lists import WIDTH, ListBatch, ListToScore
from convrec.titles.line_format import DEFAULT_FORMAT, LineFormat, parse_list_lines
from convrec.titles.title_year import TitleYear

MAX_EDITS = 2

ReadList = Callable[[str, LineFormat], list[tuple[str, TitleYear]]]
"""Reads (line, item) from a list."""


class CatalogNames:
    """The names of catalog items as lines, and lookup of the nearest name.

    `read_list` reads the lists: by default one title a line, as students are trained to write.
    """

    def __init__(
        self,
        items: Iterable[TitleAndYear],
        line_format: LineFormat = DEFAULT_FORMAT,
        read_list: ReadList = parse_list_lines,
    ) -> None:
        items = list(items)
        self._read_list = read_list
        self._line_format = line_format.for_titles(title for title, _ in items)
        self._names = list(dict.fromkeys(self._line_format.format(*item) for item in items))
        self._exact = set(self._names)
        self.nearest = lru_cache(maxsize=1 << 16)(self._nearest)

    def _nearest(self, text: str) -> str | None:
        """Return the nearest name within MAX_EDITS edits, the first on a tie, or None."""
        if text in self._exact:
            return text
        found = process.extractOne(
            text, self._names, scorer=Levenshtein.distance, score_cutoff=MAX_EDITS
        )
        return str(found[0]) if found else None

    def parse_list(self, completion: str) -> list[str]:
        """Map the lines to catalog names, in order; lines without a near name are dropped."""
        items = self._read_list(completion, self._line_format)
        names = (self.nearest(self._line_format.format(*item)) for _, item in items)
        return [name for name in names if name is not None]

    def name_of(self, item: TitleAndYear) -> str:
        """The nearest name of an item, or its own line if no name is near."""
        text = self._line_format.format(*item)
        return self.nearest(text) or text


def match_per_label(lists: Sequence[ListToScore], names: CatalogNames) -> ListBatch:
    """Match lists by the `per-label` protocol: one row for each (list, ground-truth item) pair."""
    owners: list[int] = []
    ranks: list[int | None] = []
    for index, one in enumerate(lists):
        seen = {names.name_of(item) for item in one.seen}
        listed = [name for name in names.parse_list(one.completion) if name not in seen]
        for target in target_names(one.seen, one.ground_truth, names):
            owners.append(index)
            ranks.append(target_rank(listed, target))
    return batch_of_pairs(owners, ranks)


def target_names(
    seen: Sequence[TitleAndYear], ground_truth: Sequence[TitleAndYear], names: CatalogNames
) -> list[str]:
    """Return the name of each ground truth that was not seen; repeats stay."""
    seen_names = {names.name_of(item) for item in seen}
    return [name for item in ground_truth if (name := names.name_of(item)) not in seen_names]


def target_rank(names: Sequence[str], target: str) -> int | None:
    """Return the rank, from 1, of the first name that equals `target`, or None."""
    return names.index(target) + 1 if target in names else None


def batch_of_pairs(owners: Sequence[int], ranks: Sequence[int | None]) -> ListBatch:
    """Build a batch from the list and the rank of the hit (from 1, None without) of each pair."""
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
