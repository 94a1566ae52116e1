"""Training data of the baselines: posts, and the catalog items that their answers name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from convrec.catalog.exact_matches import ItemLinker
from convrec.metrics import Floats, Ints
from convrec.metrics.relevance import TitleAndYear, year_gap
from convrec.stages.base import StepContext
from convrec.stages.catalog_titles import read_split
from convrec.stages.contexts import rows_by_id
from convrec.stages.evaluate.samples import Sample
from convrec.titles.aliases import TITLE_COLUMNS
from convrec.titles.normalize import exact_key

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix  # loads slowly


@dataclass(frozen=True)
class TrainingData:
    """Training posts with a ground truth in the catalog.

    Attributes:
        items: All catalog rows.
        mentions: (catalog,) How many training answers name each item.
        texts: The posts among which kNN looks for neighbors.
        answer_counts: (posts, catalog) How many answers to each of them name an item.
    """

    items: list[TitleAndYear]
    mentions: Floats
    texts: list[str]
    answer_counts: csr_matrix

    @cached_property
    def by_popularity(self) -> Ints:
        """Catalog rows of the named items, most often named first; ties by row."""
        order = np.argsort(-self.mentions, kind="stable")
        return order[: int(np.count_nonzero(self.mentions))]

    @cached_property
    def _rows_by_key(self) -> dict[str, list[tuple[int | None, int]]]:
        rows: dict[str, list[tuple[int | None, int]]] = defaultdict(list)
        for row, (title, year) in enumerate(self.items):
            rows[exact_key(title)].append((year, row))
        return rows

    def matching_rows(self, titles: Sequence[TitleAndYear]) -> set[int]:
        """Return the catalog rows that match a title (see `convrec.metrics.relevance`)."""
        return {
            row
            for title, year in titles
            for item_year, row in self._rows_by_key.get(exact_key(title), ())
            if year_gap(year, item_year) is not None
        }

    def top_unseen_rows(self, ranked: Ints, sample: Sample, n: int) -> list[int]:
        """Return the first `n` catalog rows of `ranked` that the sample has not seen."""
        seen = self.matching_rows(sample.seen)
        return [row for row in ranked[: n + len(seen)].tolist() if row not in seen][:n]

    def top_unseen(self, ranked: Ints, sample: Sample, n: int) -> list[TitleAndYear]:
        """Return the titles and years of `top_unseen_rows`."""
        return [self.items[row] for row in self.top_unseen_rows(ranked, sample, n)]


def read_training(ctx: StepContext) -> TrainingData | None:
    """Return the training split; None if no training answer names a catalog item.

    Of more than `evaluate.knn_posts` posts, the texts are those of a sample drawn by the seed.
    """
    from scipy.sparse import csr_matrix

    catalog, config = ctx.frame("catalog"), ctx.config
    train = read_split(ctx, "train", "sample_id", "context_id", *TITLE_COLUMNS)
    answers = ItemLinker(catalog).link(train, "ground_truth")
    answers = answers.select("sample_id", "context_id", "item").unique(maintain_order=True)
    if answers.is_empty():
        return None
    mentions = np.bincount(answers["item"].to_numpy(), minlength=catalog.height)
    named = answers["context_id"].unique().sort()
    chosen = named.gather(sample_numbers(len(named), config.evaluate.knn_posts, config.seed))
    posts = (
        rows_by_id(ctx, "conversations", chosen, "conversation")
        .unique("context_id", keep="first", maintain_order=True)
        .sort("context_id")
        .with_row_index("post")
    )
    pairs = answers.join(posts.select("context_id", "post"), on="context_id")
    rows, items = pairs["post"].to_numpy(), pairs["item"].to_numpy()
    answer_counts = csr_matrix(
        (np.ones(len(rows), np.float32), (rows, items)), shape=(posts.height, catalog.height)
    )
    titles = list(catalog.select("title", "year").iter_rows())
    return TrainingData(
        titles, mentions.astype(np.float64), posts["conversation"].to_list(), answer_counts
    )


def sample_numbers(count: int, limit: int, seed: int) -> Ints:
    """The numbers below `count`, in order; a sample of them above `limit` (0: no limit)."""
    if not limit or count <= limit:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).permutation(count)[:limit])
