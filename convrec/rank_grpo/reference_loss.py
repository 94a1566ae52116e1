"""The Rank-GRPO objective as a pure function of tensors.

Training does not call it: `RankGRPOTrainer` computes the same with TRL's loss, and tests compare
the two.

Paper: arXiv 2510.20150. The importance ratio of a token is the geometric mean over its rank. All
tokens past rank N share one ratio, as in the published code.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from convrec.rank_grpo.segments import rank_weights, span_mean

Reduction = Literal["rank", "token", "sequence"]


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
    """The loss of one batch, a scalar.

    Args:
        logps: (B, T), log-probabilities under the policy.
        old_logps: (B, T), under the policy that sampled the lists.
        ref_logps: (B, T), under the reference model; read only if `beta` is not 0.
        token_advantages: (B, T).
        segments: (B, T), the rank of each token, -1 on padding.
        n_ranks: The requested length N.
        epsilon_low: Lower clip range.
        epsilon_high: Upper clip range.
        beta: Weight of the KL penalty.
        reduction: `rank` is the paper's: a list's policy term is the mean over its N ranks of the
            rank's token mean, so long titles weigh no more than short ones. Missing ranks add 0;
            tokens past rank N enter as one further rank. The KL term is the list's token mean.
            Published code also has `sequence`, the token mean of each list, averaged over lists,
            and `token`, the mean over all tokens of the batch.
    """
    present = segments >= 0
    ratio = span_mean(logps - old_logps, segments, n_ranks).exp()
    clipped = ratio.clamp(1 - epsilon_low, 1 + epsilon_high)
    policy = -torch.min(ratio * token_advantages, clipped * token_advantages)
    penalty = torch.zeros_like(logps)
    if beta != 0 and ref_logps is not None:
        log_ratio = ref_logps - logps
        penalty = beta * (log_ratio.exp() - log_ratio - 1)
    if reduction == "token":
        return ((policy + penalty) * present).sum() / present.sum().clamp(min=1)
    per_list = present / present.sum(dim=1, keepdim=True).clamp(min=1)
    weights = rank_weights(segments, n_ranks) if reduction == "rank" else per_list
    return (policy * weights + penalty * per_list).sum(dim=1).mean()
