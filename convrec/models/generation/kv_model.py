"""A model together with the key-value cache of its prompts and of the lists that it generates."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from convrec.models.generation.kv_cache import (
    PreallocatedLayer,
    cache_argument,
    preallocated_cache,
    repeat_rows,
    select_rows,
)
from convrec.models.generation.shared_prefix import (
    SharedPrefixLayer,
    attention_bias,
    can_share,
    shared_attention,
)

SMALL_BATCH = 4
"""Up to so many lists, a decode step is bound by operator overhead, not memory or arithmetic."""


class CachedModel:
    """Reads each prompt once, whatever the number of its lists.

    If the model supports it, the lists of a prompt share its keys and values until some of them
    end. Prompts are padded on the left. `capacity` is the number of tokens that a list can get
    before the cache grows.

    Attributes:
        logits: (B, V), for the next token of each list; the lists of a prompt are adjacent.
    """

    def __init__(
        self, model: Any, prompts: Sequence[Sequence[int]], samples: int, capacity: int, pad: int
    ) -> None:
        length = max(map(len, prompts))
        ids = torch.tensor([[pad] * (length - len(p)) + list(p) for p in prompts])  # (P, L)
        mask = torch.tensor([[0] * (length - len(p)) + [1] * len(p) for p in prompts])
        self._model = model
        self._is_shared = self._has_gaps = False
        self._prompt_length = length
        share = samples > 1 and len(prompts) * samples > SMALL_BATCH and can_share(model)
        layer_type = SharedPrefixLayer if share else PreallocatedLayer
        self._cache = preallocated_cache(model.config, length + capacity, layer_type)
        self._cache_argument = cache_argument(model)
        self._mask = mask.to(model.device)
        positions = (self._mask.cumsum(1) - 1).clamp(min=0)
        logits = self._forward(ids.to(model.device), positions)
        if share:
            for layer in self._cache.layers:
                layer.share(samples, attention_bias(self._mask))
        else:
            repeat_rows(self._cache, len(prompts), samples)
        self._is_shared = share
        self.logits = logits.repeat_interleave(samples, dim=0)
        self._mask = self._mask.repeat_interleave(samples, dim=0)  # (B, L)
        self._next_position = self._mask.sum(1, keepdim=True)  # (B, 1)

    def read(self, tokens: Tensor) -> None:
        """Read the next tokens of each list, (B, w), padded with -1 on the left."""
        if tokens.shape[1] > 1:
            self._unshare()
        present = (tokens >= 0).long()
        positions = self._next_position + (present.cumsum(1) - 1).clamp(min=0)
        self._mask = torch.cat([self._mask, present], dim=1)
        self._next_position = self._next_position + present.sum(1, keepdim=True)
        self.logits = self._forward(tokens.clamp(min=0), positions)

    def rollback(self, counts: Tensor) -> None:
        """Remove the last `counts` (B,) tokens of each list; `logits` are invalid until `read`.

        The tokens stay in the cache, masked, so lists of different lengths stay in one batch.
        """
        columns = torch.arange(self._mask.shape[1], device=counts.device)
        removed = columns >= self._mask.shape[1] - counts[:, None]
        self._mask = self._mask.masked_fill(removed, 0)
        self._next_position = self._next_position - counts[:, None]
        self._has_gaps = True

    def select(self, rows: Tensor) -> None:
        """Keep only these rows (b,) of the batch."""
        self._unshare()
        select_rows(self._cache, rows)
        self.logits, self._mask, self._next_position = (
            x[rows] for x in (self.logits, self._mask, self._next_position)
        )

    def _unshare(self) -> None:
        if self._is_shared:
            for layer in self._cache.layers:
                layer.unshare()
        self._is_shared = False

    def _forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Logits (B, V) after the last column of `ids`."""
        if self._is_shared and self._has_gaps:
            bias = attention_bias(self._mask[:, self._prompt_length :])
            for layer in self._cache.layers:
                layer.list_bias = bias.to(layer.keys.dtype)
        with shared_attention(self._model) if self._is_shared else nullcontext():
            out = self._model(
                input_ids=ids,
                attention_mask=self._mask,
                position_ids=positions,
                use_cache=True,
                logits_to_keep=1,
                **{self._cache_argument: self._cache},
            )
        logits: Tensor = out.logits[:, -1]
        return logits
