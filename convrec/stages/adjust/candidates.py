"""Scored candidates as flat arrays: context after context, items seen in the conversation removed.

A context number is a row of a table of contexts; an item number is a row of the catalog.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from convrec.catalog.exact_matches import filter_splits
from convrec.stages.adjust.ground_truth import read_seen
from convrec.stages.base import StepContext
from convrec.stages.contexts import PARTITION, context_spans, row_range


@dataclass(frozen=True)
class Candidates:
    """Candidates of some contexts.

    Context c has the positions starts[c] to starts[c] + lengths[c]. A context whose candidates were
    all seen stays, with length 0.

    Attributes:
        contexts: One row a context: context_id, context (its number), split.
        items: (candidates,) Catalog rows.
        scores: (candidates,) s_reflect of judged candidates, s_remap of the others.
        starts: (contexts,) Position of a context's first candidate.
        lengths: (contexts,) Number of candidates of a context.
    """

    contexts: pl.DataFrame
    items: np.ndarray
    scores: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    @property
    def context_numbers(self) -> np.ndarray:
        """(contexts,) The number of each context."""
        return self.contexts["context"].to_numpy()

    @property
    def candidate_contexts(self) -> np.ndarray:
        """(candidates,) The number of each candidate's context."""
        return np.repeat(self.context_numbers, self.lengths)


def read_contexts(ctx: StepContext, splits: Collection[str] | None = None) -> pl.DataFrame:
    """Read the contexts of `splits` that have candidates: context (number), context_id, split.

    They are sorted by split and id, so floating-point sums do not depend on the order of samples.
    """
    samples = filter_splits(ctx.frame("conversations", "context_id", "split"), splits)
    return (
        samples.unique("context_id", keep="first", maintain_order=True)
        .join(context_spans(ctx, "candidates"), on="context_id", how="semi")
        .sort("split", "context_id")
        .with_row_index("context")
    )


def candidate_blocks(ctx: StepContext, contexts: pl.DataFrame) -> Iterator[Candidates]:
    """Iterate over the candidates of `contexts`, PARTITION contexts a block; at least one block.

    Blocks follow the order of the candidates' rows. Within a block contexts are ordered by number
    and a context's candidates by falling s_remap.
    """
    catalog = ctx.frame("catalog", "item_id").with_row_index("item")
    seen = read_seen(ctx, contexts)
    roles = ("candidates", "judgments") if ctx.has("judgments") else ("candidates",)
    row_ranges = {
        role: contexts.join(
            context_spans(ctx, role), on="context_id", how="left", maintain_order="left"
        )
        for role in roles
    }
    order = row_ranges["candidates"]["first"].arg_sort()
    for start in range(0, max(contexts.height, 1), PARTITION):
        chosen = order.slice(start, PARTITION).sort()
        scores = {
            role: _read_scores(ctx, role, ranges[chosen], catalog)
            for role, ranges in row_ranges.items()
        }
        rows = scores["candidates"]
        if "judgments" in scores:
            rows = rows.join(
                scores["judgments"].rename({"score": "judged"}),
                on=["context", "item"],
                how="left",
                maintain_order="left",
            ).with_columns(score=pl.coalesce("judged", "score"))
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


def _read_scores(
    ctx: StepContext, role: str, contexts: pl.DataFrame, catalog: pl.DataFrame
) -> pl.DataFrame:
    """Read columns context, item, score of `contexts`, which have their first and last row."""
    rows = ctx.rows(role, *row_range(contexts), "context_id", "item_id", "score")
    return (
        rows.join(contexts.select("context_id", "context"), on="context_id", maintain_order="left")
        .select("context", "item_id", "score")
        .join(catalog, on="item_id", maintain_order="left")
        .select("context", "item", "score")
    )
