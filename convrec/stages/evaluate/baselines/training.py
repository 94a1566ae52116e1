"""Training data of the baselines: posts, and the catalog items that their answers name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from convrec.catalog.exact_matches import ItemLinker, filter_splits
from convrec.metrics import Floats, Ints
from convrec.metrics.relevance import TitleAndYear, year_gap
from convrec.stages.evaluate.samples import Sample
from convrec.titles.normalize import exact_key

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix  # loads slowly


@dataclass(frozen=True)
class TrainingData:
    """Training posts with a ground truth in the catalog; `items` are all catalog rows.

    `answer_counts` (posts, catalog) says how many answers to a post name an item.
    """

    items: list[TitleAndYear]
    texts: list[str]
    answer_counts: csr_matrix

    @cached_property
    def mentions(self) -> Floats:
        """(catalog,) How many training answers name each item."""
        return np.asarray(self.answer_counts.sum(axis=0), dtype=np.float64).ravel()

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


def read_training(conversations: pl.DataFrame, catalog: pl.DataFrame) -> TrainingData | None:
    """Return the training split; None if no training answer names a catalog item."""
    from scipy.sparse import csr_matrix

    train = filter_splits(conversations, {"train"})
    columns = ("sample_id", "context_id", "ground_truth")
    answers = ItemLinker(catalog).link(train.select(columns), "ground_truth")
    answers = answers.unique(maintain_order=True)
    if answers.is_empty():
        return None
    posts = (
        train.select("context_id", "conversation")
        .unique("context_id", keep="first", maintain_order=True)
        .join(answers.select(pl.col("context_id").unique()), on="context_id", how="semi")
        .sort("context_id")
        .with_row_index("post")
    )
    pairs = answers.join(posts.select("context_id", "post"), on="context_id")
    rows, items = pairs["post"].to_numpy(), pairs["item"].to_numpy()
    answer_counts = csr_matrix(
        (np.ones(len(rows), np.float32), (rows, items)), shape=(posts.height, catalog.height)
    )
    titles = list(catalog.select("title", "year").iter_rows())
    return TrainingData(titles, posts["conversation"].to_list(), answer_counts)
