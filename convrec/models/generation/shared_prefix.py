"""Attention of a prompt's samples over one copy of the prompt's keys and values.

Repeated in the cache, a prompt would be read from memory once a sample at every token. Here the
queries of its G samples meet it in one product, and each sample's own tokens in another; one
softmax goes over both. The result is that of ordinary attention up to rounding.

For models whose attention is nothing but scaled dot products (MODEL_TYPES, through transformers'
attention interface); others repeat the prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import AttentionInterface

from convrec.models.generation.kv_cache import RoomyLayer

NAME = "convrec_shared_prompt"
MODEL_TYPES = ("llama", "qwen2", "qwen3")


class SharedPrompt(NamedTuple):
    """What samples share: keys and values (P, heads, L, width), and 0 or -inf (P, 1, 1, L)."""

    keys: Tensor
    values: Tensor
    bias: Tensor


class SharedLayer(RoomyLayer):
    """Own tokens of each sample; `prompt` travels with the keys that `update` returns.

    `hidden`, where own tokens were taken back, is 0 or -inf for each of them: (B, 1, 1, t).
    """

    def __init__(self, room: int) -> None:
        super().__init__(room)
        self.prompt: SharedPrompt | None = None
        self.hidden: Tensor | None = None

    def share(self, samples: int, bias: Tensor) -> None:
        """Take what was read so far as the prompts of `samples` lists each."""
        self.prompt = SharedPrompt(self.keys, self.values, bias.to(self.keys.dtype))
        self.keys, self.values = (
            x[:, :, :0].repeat_interleave(samples, dim=0) for x in (self.keys, self.values)
        )
        self._memory = None

    def hide(self, bias: Tensor) -> None:
        """Add `bias` (B, 1, 1, t) where samples attend to their own tokens."""
        self.hidden = bias.to(self.keys.dtype)

    def unshare(self) -> None:
        """Give each sample its own copy of its prompt."""
        assert self.prompt is not None
        samples = len(self.keys) // len(self.prompt.keys)
        self.keys, self.values = (
            torch.cat([shared.repeat_interleave(samples, dim=0), own], dim=2)
            for shared, own in zip(self.prompt, (self.keys, self.values), strict=False)
        )
        self.prompt = self._memory = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """As a roomy layer."""
        keys, values = super().update(key_states, value_states, *args, **kwargs)
        keys.prompt = self.prompt  # type: ignore[attr-defined]
        keys.hidden = self.hidden  # type: ignore[attr-defined]
        return keys, values


def hiding(mask: Tensor) -> Tensor:
    """What is added to scores so that nothing attends where `mask` (b, L) is 0: (b, 1, 1, L)."""
    hidden = (mask == 0)[:, None, None]
    return torch.zeros(hidden.shape, device=mask.device).masked_fill(hidden, -torch.inf)


def can_share(model: Any) -> bool:
    """Whether this model's attention is known to be what `attend` computes."""
    config = model.config
    return (
        config.model_type in MODEL_TYPES
        and config._attn_implementation == "sdpa"
        and not getattr(config, "use_sliding_window", False)
    )


@contextmanager
def shared_attention(model: Any) -> Iterator[None]:
    """The model attends with `attend` inside the block."""
    config, before = model.config, model.config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """One new token a sample: query (B, heads, 1, width), own keys (B, key heads, t, width)."""
    prompt: SharedPrompt = key.prompt  # type: ignore[attr-defined]
    batch, heads, _, width = query.shape
    prompts, groups, length, _ = prompt.keys.shape
    own = (batch, groups, heads // groups)
    asked = query.reshape(*own, width) * scaling

    def together(x: Tensor) -> Tensor:
        """(B, g, r, ·) to (P, g, samples * r, ·)."""
        apart = x.reshape(prompts, -1, *x.shape[1:]).transpose(1, 2)
        return apart.reshape(prompts, groups, -1, x.shape[-1])

    def apart(x: Tensor) -> Tensor:
        """The way back."""
        rows = x.reshape(prompts, groups, -1, own[2], x.shape[-1]).transpose(1, 2)
        return rows.reshape(*own, x.shape[-1])

    of_prompt = together(asked) @ prompt.keys.transpose(2, 3) + prompt.bias
    of_own = asked @ key.transpose(2, 3)
    if key.hidden is not None:  # type: ignore[attr-defined]
        of_own = of_own + key.hidden  # type: ignore[attr-defined]
    weights = torch.cat([apart(of_prompt), of_own], dim=-1).softmax(dim=-1)
    read = apart(together(weights[..., :length]) @ prompt.values) + weights[..., length:] @ value
    return read.reshape(batch, 1, heads, width), None


AttentionInterface.register(NAME, attend)
