"""What the baselines learn from: the training posts, and the catalog items that answered them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from convrec.catalog.items import link_titles, of_splits
from convrec.metrics.relevance import Titled
from convrec.titles.index import YEAR_TOLERANCE
from convrec.titles.normalize import exact_key

if TYPE_CHECKING:
    import polars as pl
    from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class TrainingData:
    """Training posts with a ground truth in the catalog.

    `items` are the catalog's titles and years by row, `texts` one conversation a post, `truth`
    (posts, items) how many answers to the post name the item.
    """

    items: list[Titled]
    texts: list[str]
    truth: csr_matrix

    @cached_property
    def mentions(self) -> NDArray[np.float64]:
        """How many training answers name each catalog item."""
        return np.asarray(self.truth.sum(axis=0), dtype=np.float64).ravel()

    @cached_property
    def by_popularity(self) -> NDArray[np.int64]:
        """Items that training answers name, most often named first; ties by catalog row."""
        order = np.argsort(-self.mentions, kind="stable")
        return order[: int(np.count_nonzero(self.mentions))]

    @cached_property
    def _rows_of(self) -> dict[str, list[tuple[int | None, int]]]:
        rows: dict[str, list[tuple[int | None, int]]] = defaultdict(list)
        for row, (title, year) in enumerate(self.items):
            rows[exact_key(title)].append((year, row))
        return rows

    def seen(self, titles: Sequence[Titled]) -> set[int]:
        """Catalog rows that count as seen (see `convrec.metrics.relevance`)."""
        return {
            row
            for title, year in titles
            for own, row in self._rows_of.get(exact_key(title), ())
            if year is None or own is None or abs(year - own) <= YEAR_TOLERANCE
        }

    def named(self, rows: Sequence[int]) -> list[Titled]:
        """The titles and years of catalog rows."""
        return [self.items[row] for row in rows]


def read_training(conversations: pl.DataFrame, catalog: pl.DataFrame) -> TrainingData | None:
    """The training split; None where no training answer names an item of the catalog."""
    import polars as pl
    from scipy.sparse import csr_matrix

    train = of_splits(conversations, {"train"})
    columns = ("sample_id", "context_id", "ground_truth")
    named = link_titles(train.select(columns), "ground_truth", catalog).unique(maintain_order=True)
    if named.is_empty():
        return None
    posts = (
        train.select("context_id", "conversation")
        .unique("context_id", keep="first", maintain_order=True)
        .join(named.select(pl.col("context_id").unique()), on="context_id", how="semi")
        .sort("context_id")
        .with_row_index("post")
    )
    pairs = named.join(posts.select("context_id", "post"), on="context_id")
    rows, columns_ = pairs["post"].to_numpy(), pairs["item"].to_numpy()
    truth = csr_matrix(
        (np.ones(len(rows), np.float32), (rows, columns_)), shape=(posts.height, catalog.height)
    )
    items = list(catalog.select("title", "year").iter_rows())
    return TrainingData(items, posts["conversation"].to_list(), truth)
