"""From rewards of ranks to advantages of tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Shaping:
    """Values that shape the length of a list (`token_advantages`), and the weight of invalid lines.

    `fault` weighs `fault_advantages`, which are added to the advantages of the ranks. An invalid
    line and a miss both earn a reward of 0; this term tells them apart.
    """

    overflow: float = -0.1
    exact: float = 0.1
    early: float = -0.1
    fault: float = 0.0


PUBLISHED = Shaping()
"""The values of the paper."""


def rank_advantages(rank_rewards: Tensor, group_size: int) -> Tensor:
    """Group-relative advantage of each rank, (r - mean) / (std + 1e-4): (B, N).

    `rank_rewards` is (B, N); each `group_size` consecutive rows share a prompt. The standard
    deviation is the unbiased one.
    """
    groups = rank_rewards.view(-1, group_size, rank_rewards.size(1))  # (B / G, G, N)
    centered = groups - groups.mean(dim=1, keepdim=True)
    return (centered / (groups.std(dim=1, keepdim=True) + 1e-4)).view_as(rank_rewards)


def fault_advantages(faults: Tensor, group_size: int) -> Tensor:
    """The group's mean fault at each rank minus the list's own: (B, N).

    `faults` is (B, N): 1 for an invalid line, 0 for a valid or missing one. Not divided by a
    standard deviation: normalized together with the rewards, a penalty would outweigh the few hits
    of a rank, and normalized alone it would grow as faults become rare.
    """
    groups = faults.view(-1, group_size, faults.size(1))  # (B / G, G, N)
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
    """The advantage of each token: its rank's, or a shaping value; (B, T), 0 on padding.

    Args:
        advantages: (B, N), one per rank.
        segments: (B, T), the rank of each token (`segment_ranks`).
        eos_mask: (B, T), 1 at EOS.
        n_ranks: The requested length N.
        overflow: Value of tokens past rank N.
        exact: Value of EOS after exactly N lines; a line counts once it has a token of its own.
        early: Value of EOS after fewer lines.
    """
    ranks = segments.clamp(min=0, max=n_ranks - 1)
    values = advantages.gather(1, ranks).masked_fill(segments >= n_ranks, overflow)
    previous = torch.nn.functional.pad(segments[:, :-1], (1, 0), value=-1)
    lines = segments + (segments == previous)  # lines up to and including this token
    eos = eos_mask.bool()
    values = values.masked_fill(eos & (lines == n_ranks), exact)
    values = values.masked_fill(eos & (lines < n_ranks), early)
    return values.masked_fill(segments < 0, 0.0)


def list_shaping(
    segments: Tensor,
    eos_mask: Tensor,
    newlines: Tensor,
    chosen: Tensor,
    faults: Tensor,
    shaping: Shaping,
) -> Tensor:
    """What `shaping` adds to the objective of a list in Rank-GRPO, as one number: (B,).

    The mean over N ranks: a faulty line counts -`fault`; the tokens that decide on the length (EOS,
    the newline of rank N, all tokens past rank N) together count as one rank, by their mean.

    Args:
        segments: (B, T), the rank of each token (`segment_ranks`).
        eos_mask: (B, T), 1 at EOS.
        newlines: (B, T), the number of newlines in each token.
        chosen: (B, T), 0 for tokens that the sampler added.
        faults: (B, N), 1 for an invalid line.
        shaping: The values.
    """
    n = faults.shape[1]
    values = token_advantages(
        torch.zeros_like(faults),
        segments,
        eos_mask,
        n,
        shaping.overflow,
        shaping.exact,
        shaping.early,
    )
    goes_on = (segments == n - 1) & (newlines > 0)
    values = values.masked_fill(goes_on, shaping.overflow)
    decides = (eos_mask.bool() | goes_on | (segments >= n)) & (chosen > 0)
    length = (values * decides).sum(dim=1) / decides.sum(dim=1).clamp(min=1)
    return (length - shaping.fault * faults.sum(dim=1)) / n
