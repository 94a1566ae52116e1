"""One token from a row of logits: by inverting the cumulative distribution, without sorting."""

from __future__ import annotations

import torch
from torch import Tensor


def choose(logits: Tensor, temperature: float, draws: Tensor) -> tuple[Tensor, Tensor]:
    """A token a row at `draws` (b,) from logits (b, V), and its log-probability (b,).

    Temperature 0 takes the likeliest token; its log-probability is that at temperature 1.
    """
    scaled = logits.float() / temperature if temperature not in (0, 1) else logits.float()
    shares = scaled.softmax(dim=-1)
    tokens = logits.argmax(dim=-1) if temperature == 0 else invert(shares, draws)
    return tokens, shares.gather(1, tokens[:, None])[:, 0].log()


_BLOCK = 64


def invert(shares: Tensor, draws: Tensor) -> Tensor:
    """Where each row's cumulative sum passes `draws` (b,) of its total: (b, V), (b,) -> (b,).

    First among sums of blocks of the vocabulary, then within a block: a cumulative sum over all of
    a vocabulary costs more than the softmax before it. Sums are float64.
    """
    padded = torch.nn.functional.pad(shares, (0, -shares.shape[1] % _BLOCK))
    blocks = padded.view(len(shares), -1, _BLOCK)
    sums = blocks.sum(dim=-1, dtype=torch.float64).cumsum(dim=-1)
    target = draws[:, None].double() * sums[:, -1:]
    block = torch.searchsorted(sums, target, right=True).clamp(max=sums.shape[1] - 1)
    before = torch.where(block > 0, sums.gather(1, (block - 1).clamp(min=0)), 0.0)
    inside = blocks[torch.arange(len(shares), device=shares.device), block[:, 0]]
    cumulative = inside.double().cumsum(dim=-1) + before
    offset = torch.searchsorted(cumulative, target, right=True)
    last = (inside > 0).long().cumsum(dim=-1).argmax(dim=-1, keepdim=True)
    return (block * _BLOCK + torch.minimum(offset, last))[:, 0]


def uniforms(rows: int, max_tokens: int, seed: int) -> Tensor:
    """The random numbers of `rows` lists: (rows, max_tokens), uniform on [0, 1)."""
    return torch.rand(rows, max_tokens, generator=torch.Generator().manual_seed(seed))
