"""From rewards of ranks to advantages of tokens."""

from __future__ import annotations

import torch
from torch import Tensor


def rank_advantages(rank_rewards: Tensor, group_size: int) -> Tensor:
    """Group-relative advantage of each rank: (r - mean) / (std + 1e-4), std unbiased.

    `rank_rewards` is (B, N), `group_size` rows in a row share a prompt. Returns (B, N).
    """
    groups = rank_rewards.view(-1, group_size, rank_rewards.size(1))
    centred = groups - groups.mean(dim=1, keepdim=True)
    return (centred / (groups.std(dim=1, keepdim=True) + 1e-4)).view_as(rank_rewards)


def fault_advantages(faults: Tensor, group_size: int) -> Tensor:
    """What a fault at a rank is worth beside the rewards: the group's mean fault less its own.

    `faults` is (B, N), 1 where a line is at fault and 0 where it is not or is missing. Not divided
    by a deviation: normalised together with rewards, a penalty outweighs the few hits of a rank,
    and normalised by itself it would grow as faults get rare.
    """
    groups = faults.view(-1, group_size, faults.size(1))
    return (groups.mean(dim=1, keepdim=True) - groups).view_as(faults)


def token_advantages(
    advantages: Tensor,
    segments: Tensor,
    eos_mask: Tensor,
    n_ranks: int,
    overflow: float = -0.1,
    exact: float = 0.1,
    early: float = -0.1,
) -> Tensor:
    """The advantage of each token: its rank's, or a shaping value: (B, T), 0 on padding.

    `advantages` is (B, N), `segments` and `eos_mask` are (B, T). Tokens past rank N get `overflow`;
    EOS gets `exact` after N lines and `early` after fewer. A line counts once it has a token of
    its own, so an EOS right after the newline of rank N ends exactly N lines, and one right after
    the newline of rank N-1 comes early.
    """
    ranks = segments.clamp(min=0, max=n_ranks - 1)
    values = advantages.gather(1, ranks).masked_fill(segments >= n_ranks, overflow)
    before = torch.nn.functional.pad(segments[:, :-1], (1, 0), value=-1)
    lines = segments + (segments == before)
    eos = eos_mask.bool()
    values = values.masked_fill(eos & (lines == n_ranks), exact)
    values = values.masked_fill(eos & (lines < n_ranks), early)
    return values.masked_fill(segments < 0, 0.0)
