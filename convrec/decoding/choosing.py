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
    if temperature == 0:
        tokens = logits.argmax(dim=-1)
    else:
        cumulative = shares.double().cumsum(dim=-1)
        target = draws[:, None].double() * cumulative[:, -1:]
        tokens = torch.searchsorted(cumulative, target, right=True)[:, 0]
        tokens = tokens.clamp(max=logits.shape[1] - 1)
    return tokens, shares.gather(1, tokens[:, None])[:, 0].log()


def uniforms(rows: int, max_tokens: int, seed: int) -> Tensor:
    """The random numbers of `rows` lists: (rows, max_tokens), uniform on [0, 1)."""
    return torch.rand(rows, max_tokens, generator=torch.Generator().manual_seed(seed))
