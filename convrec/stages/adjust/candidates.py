"""Candidates as adjust reads them: flat arrays, context after context, seen items left out.

A context is a row of a table of contexts, an item a row of the catalog.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from convrec.catalog.items import of_splits
from convrec.stages.adjust.item_links import read_seen
from convrec.stages.partitions import PARTITION, extent, spans

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import numpy as np
    import polars as pl

    from convrec.stages.base import StepContext


@dataclass(frozen=True)
class Candidates:
    """Scored candidates; context c owns the positions starts[c] to starts[c] + lengths[c].

    The score is s_reflect where a judge rated the candidate, s_remap elsewhere. A context whose
    candidates are all seen stays, with none.
    """

    contexts: pl.DataFrame  # context_id, context (its row), split
    items: np.ndarray
    scores: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    @property
    def numbers(self) -> np.ndarray:
        """The number of each context: its row among all that were asked for."""
        return self.contexts["context"].to_numpy()

    @property
    def owners(self) -> np.ndarray:
        """The number of the context of each position."""
        import numpy as np

        return np.repeat(self.numbers, self.lengths)


def read_contexts(ctx: StepContext, splits: Collection[str] | None = None) -> pl.DataFrame:
    """The contexts of `splits` that have candidates: context (their number), context_id, split.

    They stand by split and id, whatever the order of the samples, so that sums come out the same to
    the last bit.
    """
    samples = of_splits(ctx.frame("conversations", "context_id", "split"), splits)
    return (
        samples.unique("context_id", keep="first", maintain_order=True)
        .join(spans(ctx, "candidates"), on="context_id", how="semi")
        .sort("split", "context_id")
        .with_row_index("context")
    )


def candidate_blocks(ctx: StepContext, contexts: pl.DataFrame) -> Iterator[Candidates]:
    """The candidates of `contexts`, PARTITION of them at a time, as their rows follow each other.

    In a block contexts stand in the order of their numbers, their candidates best remapped first.
    There is at least one block.
    """
    import numpy as np
    import polars as pl

    catalog = ctx.frame("catalog", "item_id").with_row_index("item")
    seen = read_seen(ctx, contexts)
    roles = ("candidates", "judgments") if ctx.has("judgments") else ("candidates",)
    placed = [
        contexts.join(spans(ctx, role), on="context_id", how="left", maintain_order="left")
        for role in roles
    ]
    order = placed[0]["first"].arg_sort()
    for start in range(0, max(contexts.height, 1), PARTITION):
        chosen = order.slice(start, PARTITION).sort()
        rows, *moved = (
            _coded(ctx, role, of[chosen], catalog) for role, of in zip(roles, placed, strict=True)
        )
        for judged in moved:
            rows = rows.join(
                judged.rename({"score": "moved"}),
                on=["context", "item"],
                how="left",
                maintain_order="left",
            ).with_columns(pl.coalesce("moved", "score").alias("score"))
        rows = rows.join(seen, on=["context", "item"], how="anti", maintain_order="left")
        rows = rows.sort("context", maintain_order=True)
        block = contexts[chosen]
        ends = np.searchsorted(rows["context"].to_numpy(), block["context"].to_numpy(), "right")
        lengths = np.diff(ends, prepend=0)
        yield Candidates(
            contexts=block,
            items=rows["item"].to_numpy(),
            scores=rows["score"].to_numpy(),
            starts=ends - lengths,
            lengths=lengths,
        )


def _coded(
    ctx: StepContext, role: str, contexts: pl.DataFrame, catalog: pl.DataFrame
) -> pl.DataFrame:
    """Columns context, item, score of the contexts, which know their first and last row."""
    rows = ctx.rows(role, *extent(contexts), "context_id", "item_id", "score")
    return (
        rows.join(contexts.select("context_id", "context"), on="context_id", maintain_order="left")
        .select("context", "item_id", "score")
        .join(catalog, on="item_id", maintain_order="left")
        .select("context", "item", "score")
    )
