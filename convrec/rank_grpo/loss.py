"""The Rank-GRPO objective as a pure function, against which the trainer is tested.

Paper: arXiv 2510.20150. The importance ratio of a token is the geometric mean over its rank, and
all tokens past rank N share one (as in the published code). What is averaged over what is
`reduction`: `rank` is the paper's objective, in which a long title weighs no more than a short
one; `token` and `sequence` are the two averages over tokens that published code uses.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from convrec.rank_grpo.segments import span_mean, span_sizes

Reduction = Literal["rank", "token", "sequence"]


def rank_weights(segments: Tensor, n_ranks: int) -> Tensor:
    """The weight of each token in its list's mean over ranks: (B, T), 1/(N·n_k), 0 on padding.

    Ranks that a list does not reach add nothing and still count in N, so a short list cannot gain
    by leaving ranks out.
    """
    return (segments >= 0) / (n_ranks * span_sizes(segments, n_ranks).clamp(min=1))


def rank_grpo_loss(
    logps: Tensor,
    old_logps: Tensor,
    ref_logps: Tensor | None,
    token_advantages: Tensor,
    segments: Tensor,
    n_ranks: int,
    epsilon_low: float = 0.06,
    epsilon_high: float = 0.08,
    beta: float = 1e-3,
    reduction: Reduction = "rank",
) -> Tensor:
    """The loss of one batch, a scalar; all tensors are (B, T), `segments` is -1 on padding.

    `rank`: the policy term of a list is the mean over its N ranks of the rank's token mean;
    missing ranks add 0, and the tokens with an id of N or more enter in the same way, as one
    further rank. The trainer gives EOS the id N too, so that its shaping touches no title. KL is
    a token mean of the list, lists are averaged.
    `sequence`: a token mean for each list, then the mean of lists. `token`: the mean of all
    tokens of the batch. `ref_logps` is only read where `beta` is not 0.
    """
    present = segments >= 0
    ratio = span_mean(logps - old_logps, segments, n_ranks).exp()
    clipped = ratio.clamp(1 - epsilon_low, 1 + epsilon_high)
    policy = -torch.min(ratio * token_advantages, clipped * token_advantages)
    penalty = torch.zeros_like(logps)
    if beta != 0 and ref_logps is not None:
        apart = ref_logps - logps
        penalty = beta * (apart.exp() - apart - 1)
    if reduction == "token":
        return ((policy + penalty) * present).sum() / present.sum().clamp(min=1)
    per_list = present / present.sum(dim=1, keepdim=True).clamp(min=1)
    weights = rank_weights(segments, n_ranks) if reduction == "rank" else per_list
    return (policy * weights + penalty * per_list).sum(dim=1).mean()
