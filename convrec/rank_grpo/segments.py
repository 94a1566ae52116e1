"""Which rank of a list each sampled token belongs to.

Ranks are lines, and a newline belongs to the rank that it ends. So the rank of a token is the
number of newlines before it: a table lookup and an exclusive cumulative sum, no loop over tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    pass

PADDING = -1


def segment_ranks(
    completion_ids: Tensor, completion_mask: Tensor, newline_counts: Tensor
) -> Tensor:
    """The rank of each token, from 0: (B, T) long, -1 on padding.

    `completion_ids` and `completion_mask` are (B, T), `newline_counts` is (vocabulary,). Ranks run
    on past the length asked for; a token that holds a newline belongs to the rank before it.
    """
    present = completion_mask.bool()
    newlines = newline_counts.to(completion_ids.device)[completion_ids] * present
    return (newlines.cumsum(dim=1) - newlines).masked_fill(~present, PADDING)


def span_mean(values: Tensor, segments: Tensor, n_ranks: int) -> Tensor:
    """The mean of `values` over each token's span, with its gradient: (B, T), 0 on padding.

    A span is a rank; all tokens past rank `n_ranks` are one further span.
    """
    spans = _spans(segments, n_ranks)
    present = segments >= 0
    sums = values.new_zeros(len(values), n_ranks + 2).scatter_add(1, spans, values * present)
    means = sums / _sizes(spans, n_ranks).clamp(min=1)
    return means.gather(1, spans) * present


def span_sizes(segments: Tensor, n_ranks: int) -> Tensor:
    """How many tokens each token's span has: (B, T) long, 0 on padding."""
    spans = _spans(segments, n_ranks)
    return _sizes(spans, n_ranks).gather(1, spans) * (segments >= 0)


def rank_counts(marked: Tensor, segments: Tensor, n_ranks: int) -> Tensor:
    """How many tokens of each rank are marked, and how many there are: (2, n_ranks) float."""
    spans = _spans(segments, n_ranks).flatten()
    marks = torch.stack([marked.flatten(), torch.ones_like(marked).flatten()]).float()
    sums = marks.new_zeros(2, n_ranks + 2).scatter_add(1, spans.expand(2, -1), marks)
    return sums[:, :n_ranks]


def _spans(segments: Tensor, n_ranks: int) -> Tensor:
    """Ranks 0 to n_ranks-1, n_ranks for what comes after, n_ranks+1 for padding."""
    return segments.clamp(max=n_ranks).masked_fill(segments < 0, n_ranks + 1)


def _sizes(spans: Tensor, n_ranks: int) -> Tensor:
    sizes = spans.new_zeros(len(spans), n_ranks + 2)
    return sizes.scatter_add(1, spans, torch.ones_like(spans))
