"""Sample one token per row of logits by inverting the cumulative distribution, without sorting."""

from __future__ import annotations

import torch
from torch import Tensor

_BLOCK = 64


def sample_tokens(logits: Tensor, temperature: float, draws: Tensor) -> tuple[Tensor, Tensor]:
    """One token (b,) per row of logits (b, V), at `draws` (b,), and its log-probability (b,).

    Temperature 0 takes the most likely token; its log-probability is that at temperature 1.
    """
    scaled = logits.float() / temperature if temperature not in (0, 1) else logits.float()
    probs = scaled.softmax(dim=-1)
    tokens = logits.argmax(dim=-1) if temperature == 0 else sample_inverse_cdf(probs, draws)
    return tokens, probs.gather(1, tokens[:, None])[:, 0].log()


def sample_inverse_cdf(probs: Tensor, draws: Tensor) -> Tensor:
    """Where each row's cumulative sum passes `draws` of its total: (b, V), (b,) -> (b,).

    Searches the sums of blocks of the vocabulary first, then one block: a cumulative sum over the
    whole vocabulary costs more than the softmax before it. Sums are float64.
    """
    padded = torch.nn.functional.pad(probs, (0, -probs.shape[1] % _BLOCK))
    blocks = padded.view(len(probs), -1, _BLOCK)
    sums = blocks.sum(dim=-1, dtype=torch.float64).cumsum(dim=-1)
    target = draws[:, None].double() * sums[:, -1:]
    block = torch.searchsorted(sums, target, right=True).clamp(max=sums.shape[1] - 1)
    before = torch.where(block > 0, sums.gather(1, (block - 1).clamp(min=0)), 0.0)
    inside = blocks[torch.arange(len(probs), device=probs.device), block[:, 0]]
    cumulative = inside.double().cumsum(dim=-1) + before
    offset = torch.searchsorted(cumulative, target, right=True)
    last = (inside > 0).long().cumsum(dim=-1).argmax(dim=-1, keepdim=True)
    return (block * _BLOCK + torch.minimum(offset, last))[:, 0]


def uniform_draws(rows: int, max_tokens: int, seed: int) -> Tensor:
    """The random numbers of `rows` lists: (rows, max_tokens), uniform on [0, 1)."""
    return torch.rand(rows, max_tokens, generator=torch.Generator().manual_seed(seed))
