"""Candidates as adjust reads them: flat arrays, context after context, seen items left out.

A context is a row of `Candidates.contexts`, an item a row of the catalog. Contexts stand in the
order of their ids, whatever the order of the samples, so that sums come out the same to the last
bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from convrec.catalog.index import TitleIndex

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy as np
    import polars as pl

    from convrec.artifacts import Job


@dataclass(frozen=True)
class Candidates:
    """Scored candidates; context c owns the positions starts[c] to starts[c] + lengths[c]."""

    contexts: pl.DataFrame  # context_id, context (its row), split
    items: np.ndarray
    scores: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    @property
    def owners(self) -> np.ndarray:
        """The context of each position."""
        import numpy as np

        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def of_split(self, split: str) -> Candidates:
        """The candidates of the contexts of one split."""
        import numpy as np
        import polars as pl

        chosen = (self.contexts["split"] == split).to_numpy()
        kept = np.repeat(chosen, self.lengths)
        lengths = self.lengths[chosen]
        return Candidates(
            contexts=self.contexts.filter(pl.col("split") == split)
            .drop("context")
            .with_row_index("context"),
            items=self.items[kept],
            scores=self.scores[kept],
            starts=np.cumsum(lengths) - lengths,
            lengths=lengths,
        )


def read_candidates(job: Job, splits: Collection[str] | None = None) -> Candidates:
    """The candidates of the contexts of `splits` (None: all), best remapped first.

    A candidate's score is s_reflect where a judge rated it, s_remap elsewhere. A context whose
    candidates are all seen stays, with none.
    """
    import numpy as np
    import polars as pl

    samples = of_splits(job.frame("conversations"), splits)
    raw = job.frame("candidates", "context_id", "item_id", "score")
    contexts = (
        samples.select("context_id", "split")
        .unique("context_id", keep="first", maintain_order=True)
        .join(raw.select(pl.col("context_id").unique()), on="context_id", how="semi")
        .sort("context_id")
        .with_row_index("context")
    )
    rows = _coded(raw, contexts, job.frame("catalog"))
    del raw
    if job.has("judgments"):
        judged = job.frame("judgments", "context_id", "item_id", "score")
        moved = _coded(judged, contexts, job.frame("catalog")).rename({"score": "moved"})
        rows = rows.join(
            moved, on=["context", "item"], how="left", maintain_order="left"
        ).with_columns(pl.coalesce("moved", "score").alias("score"))
    named = samples.select("context_id", "seen").join(
        contexts.select("context_id", "context"), on="context_id"
    )
    seen = link(named.select("context", "seen"), "seen", job.frame("catalog"))
    rows = rows.join(seen, on=["context", "item"], how="anti", maintain_order="left")
    rows = rows.sort("context", maintain_order=True)
    lengths = np.bincount(rows["context"].to_numpy(), minlength=contexts.height)
    return Candidates(
        contexts=contexts,
        items=rows["item"].to_numpy(),
        scores=rows["score"].to_numpy(),
        starts=np.cumsum(lengths) - lengths,
        lengths=lengths,
    )


def of_splits(conversations: pl.DataFrame, splits: Collection[str] | None) -> pl.DataFrame:
    """The samples of `splits`, all where it is None."""
    if splits is None:
        return conversations
    return conversations.filter(conversations["split"].is_in(list(splits)))


def link(samples: pl.DataFrame, column: str, catalog: pl.DataFrame) -> pl.DataFrame:
    """One row a title in `column` that the catalog has, with `item`; `column` itself goes."""
    import polars as pl

    rows = samples.explode(column).drop_nulls(column).unnest(column)
    index = TitleIndex(catalog.select("item_id", "title", "year").iter_rows())
    titles = rows.select("title", "year").unique(maintain_order=True)
    found = [index.find(title, year) for title, year in titles.iter_rows()]
    names = titles.with_columns(pl.Series("item_id", found, dtype=pl.String)).drop_nulls("item_id")
    return (
        rows.join(names, on=["title", "year"], nulls_equal=True, maintain_order="left")
        .join(_item_rows(catalog), on="item_id", maintain_order="left")
        .drop("title", "year", "item_id")
    )


def _item_rows(catalog: pl.DataFrame) -> pl.DataFrame:
    return catalog.select("item_id").with_row_index("item")


def _coded(rows: pl.DataFrame, contexts: pl.DataFrame, catalog: pl.DataFrame) -> pl.DataFrame:
    """Columns context, item, score: numbers in place of ids, contexts not asked for left out."""
    return (
        rows.join(contexts.select("context_id", "context"), on="context_id", maintain_order="left")
        .select("context", "item_id", "score")
        .join(_item_rows(catalog), on="item_id", maintain_order="left")
        .select("context", "item", "score")
    )
