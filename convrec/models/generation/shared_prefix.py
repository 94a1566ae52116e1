"""Attention of a prompt's samples over one shared copy of the prompt's keys and values.

The queries of a prompt's G samples attend to the shared copy in one product, and to each sample's
own tokens in another, with one softmax over both. The result equals ordinary attention up to
rounding. For models whose attention is not plain scaled dot products (MODEL_TYPES), the prompt is
repeated in the cache instead, which reads it from memory once per sample at every token.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import AttentionInterface

from convrec.models.generation.kv_cache import PreallocatedLayer

ATTENTION_NAME = "convrec_shared_prompt"
MODEL_TYPES = ("llama", "qwen2", "qwen3")
"""Models of plain attention over the whole text."""


class SharedPrefix(NamedTuple):
    """The prompts' keys and values (P, heads, L, width) and bias, 0 or -inf (P, 1, 1, L)."""

    keys: Tensor
    values: Tensor
    bias: Tensor


class SharedPrefixLayer(PreallocatedLayer):
    """Holds the samples' own tokens; the keys that `update` returns carry the shared `prefix`.

    `list_bias` (B, 1, 1, t), set after a rollback, is -inf for the own tokens to ignore, else 0.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.prefix: SharedPrefix | None = None
        self.list_bias: Tensor | None = None

    def share(self, samples: int, bias: Tensor) -> None:
        """Make the tokens read so far the shared prefix of `samples` lists each."""
        self.prefix = SharedPrefix(self.keys, self.values, bias.to(self.keys.dtype))
        self.keys, self.values = (
            x[:, :, :0].repeat_interleave(samples, dim=0) for x in (self.keys, self.values)
        )
        self._buffers = ()

    def unshare(self) -> None:
        """Copy the prefix into the keys and values of each sample."""
        assert self.prefix is not None
        samples = len(self.keys) // len(self.prefix.keys)
        self.keys, self.values = (
            torch.cat([shared.repeat_interleave(samples, dim=0), own], dim=2)
            for shared, own in zip(self.prefix[:2], (self.keys, self.values), strict=True)
        )
        self.prefix, self._buffers = None, ()

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append the new tokens and return the samples' own keys and values."""
        keys, values = super().update(key_states, value_states, *args, **kwargs)
        keys.prefix = self.prefix  # type: ignore[attr-defined]
        keys.list_bias = self.list_bias  # type: ignore[attr-defined]
        return keys, values


def attention_bias(mask: Tensor) -> Tensor:
    """Bias for attention scores: -inf where `mask` (b, L) is 0, else 0; (b, 1, 1, L)."""
    hidden = (mask == 0)[:, None, None]
    return torch.zeros(hidden.shape, device=mask.device).masked_fill(hidden, -torch.inf)


def can_share(model: Any) -> bool:
    """Whether `shared_prefix_attention` computes this model's attention."""
    config = model.config
    return (
        config.model_type in MODEL_TYPES
        and config._attn_implementation == "sdpa"
        and not getattr(config, "use_sliding_window", False)
    )


@contextmanager
def shared_attention(model: Any) -> Iterator[None]:
    """Let the model use `shared_prefix_attention` inside the block."""
    config, before = model.config, model.config._attn_implementation
    config._attn_implementation = ATTENTION_NAME
    try:
        yield
    finally:
        config._attn_implementation = before


def shared_prefix_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend from one new token per sample: query (B, heads, 1, w), own keys (B, key heads, t, w).

    Returns (B, 1, heads, w).
    """
    prefix: SharedPrefix = key.prefix  # type: ignore[attr-defined]
    batch, heads, _, width = query.shape
    prompts, groups, length, _ = prefix.keys.shape
    per_sample = (batch, groups, heads // groups)
    queries = query.reshape(*per_sample, width) * scaling  # (B, groups, heads per group, w)

    def fold(x: Tensor) -> Tensor:
        """Merge the samples of a prompt: (B, g, r, ·) to (P, g, samples * r, ·)."""
        by_prompt = x.reshape(prompts, -1, *x.shape[1:]).transpose(1, 2)
        return by_prompt.reshape(prompts, groups, -1, x.shape[-1])

    def unfold(x: Tensor) -> Tensor:
        """The inverse of `fold`."""
        by_sample = x.reshape(prompts, groups, -1, per_sample[2], x.shape[-1]).transpose(1, 2)
        return by_sample.reshape(*per_sample, x.shape[-1])

    prefix_scores = fold(queries) @ prefix.keys.transpose(2, 3) + prefix.bias
    own_scores = queries @ key.transpose(2, 3)
    if key.list_bias is not None:  # type: ignore[attr-defined]
        own_scores = own_scores + key.list_bias  # type: ignore[attr-defined]
    weights = torch.cat([unfold(prefix_scores), own_scores], dim=-1).softmax(dim=-1)
    out = unfold(fold(weights[..., :length]) @ prefix.values) + weights[..., length:] @ value
    return out.reshape(batch, 1, heads, width), None


AttentionInterface.register(ATTENTION_NAME, shared_prefix_attention)
