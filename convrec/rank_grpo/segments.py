"""The rank of the list that each sampled token belongs to.

Ranks are lines, and a newline belongs to the rank that it ends. The rank of a token is therefore
the number of newlines before it.
"""

from __future__ import annotations

import torch
from torch import Tensor

PADDING = -1


def segment_ranks(
    completion_ids: Tensor, completion_mask: Tensor, newline_counts: Tensor
) -> Tensor:
    """The rank of each token, from 0 and past the requested length: (B, T) long, -1 on padding.

    `completion_mask` (B, T) is 0 on padding. `newline_counts` (vocabulary,) has the number of
    newlines in the text of each token.
    """
    present = completion_mask.bool()
    newlines = newline_counts.to(completion_ids.device)[completion_ids] * present
    return (newlines.cumsum(dim=1) - newlines).masked_fill(~present, PADDING)


def span_mean(values: Tensor, segments: Tensor, n_ranks: int) -> Tensor:
    """The mean of `values` over the span of each token, with gradient: (B, T), 0 on padding.

    A span is a rank. All tokens past rank `n_ranks` form one further span.
    """
    spans = _spans(segments, n_ranks)
    present = segments >= 0
    sums = values.new_zeros(len(values), n_ranks + 2).scatter_add(1, spans, values * present)
    means = sums / _sizes(spans, n_ranks).clamp(min=1)
    return means.gather(1, spans) * present


def span_sizes(segments: Tensor, n_ranks: int) -> Tensor:
    """The number of tokens in the span of each token: (B, T) long, 0 on padding."""
    spans = _spans(segments, n_ranks)
    return _sizes(spans, n_ranks).gather(1, spans) * (segments >= 0)


def rank_counts(marked: Tensor, segments: Tensor, n_ranks: int) -> Tensor:
    """The number of marked tokens and of all tokens at each rank of the batch: (2, n_ranks) float.

    `marked` is (B, T) bool.
    """
    spans = _spans(segments, n_ranks).flatten()
    marks = torch.stack([marked.flatten(), torch.ones_like(marked).flatten()]).float()
    sums = marks.new_zeros(2, n_ranks + 2).scatter_add(1, spans.expand(2, -1), marks)
    return sums[:, :n_ranks]


def _spans(segments: Tensor, n_ranks: int) -> Tensor:
    """Ranks 0 to n_ranks - 1; n_ranks for tokens after them, n_ranks + 1 for padding: (B, T)."""
    return segments.clamp(max=n_ranks).masked_fill(segments < 0, n_ranks + 1)


def _sizes(spans: Tensor, n_ranks: int) -> Tensor:
    """The number of tokens in each span: (B, n_ranks + 2)."""
    sizes = spans.new_zeros(len(spans), n_ranks + 2)
    return sizes.scatter_add(1, spans, torch.ones_like(spans))


def rank_weights(segments: Tensor, n_ranks: int) -> Tensor:
    """The weight 1/(N·n_k) of each token in its list's mean over ranks: (B, T), 0 on padding.

    Missing ranks contribute 0 but count in N, so leaving ranks out cannot raise the mean.
    """
    return (segments >= 0) / (n_ranks * span_sizes(segments, n_ranks).clamp(min=1))
