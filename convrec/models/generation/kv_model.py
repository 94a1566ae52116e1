"""A model that has read its prompts and is fed the lists that it writes, with their cache."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from convrec.models.generation.kv_cache import cache_argument, roomy_cache
from convrec.models.generation.shared_prefix import SharedLayer, can_share, hiding, shared_attention

FEW = 4
"""Up to so many lists at once, a step waits for its operations, not for memory or arithmetic."""


class CachedModel:
    """Reads each prompt once, whatever the number of lists that follow it.

    Where the model allows, the lists share its keys and values until some of them have ended.

    `logits` (B, V) are those of the next token of each list, one prompt's lists next to each other.
    Prompts are padded on the left; `room` is how many tokens a list may get without a new cache.
    """

    def __init__(
        self, model: Any, prompts: Sequence[Sequence[int]], samples: int, room: int, pad: int
    ) -> None:
        length = max(map(len, prompts))
        ids = torch.tensor([[pad] * (length - len(p)) + list(p) for p in prompts])
        mask = torch.tensor([[0] * (length - len(p)) + [1] * len(p) for p in prompts])
        self._model = model
        self._shared = self._gaps = False
        self._prompt = length
        shares = samples > 1 and len(prompts) * samples > FEW and can_share(model)
        self._cache = roomy_cache(model.config, length + room, SharedLayer if shares else None)
        self._name = cache_argument(model)
        self._mask = mask.to(model.device)
        positions = (self._mask.cumsum(1) - 1).clamp(min=0)
        logits = self._forward(ids.to(model.device), positions)
        self._spread(samples, shares)
        self.logits = logits.repeat_interleave(samples, dim=0)
        self._mask = self._mask.repeat_interleave(samples, dim=0)
        self._next = self._mask.sum(1, keepdim=True)  # (B, 1): where the next token stands

    def read(self, tokens: Tensor) -> None:
        """Read the next tokens of each list, (B, w); -1 on the left where a list has fewer."""
        if tokens.shape[1] > 1:
            self._unshare()
        present = (tokens >= 0).long()
        positions = self._next + (present.cumsum(1) - 1).clamp(min=0)
        self._mask = torch.cat([self._mask, present], dim=1)
        self._next = self._next + present.sum(1, keepdim=True)
        self.logits = self._forward(tokens.clamp(min=0), positions)

    def forget(self, counts: Tensor) -> None:
        """Take back the last `counts` (B,) tokens of each list; its `logits` mean nothing then.

        They stay in the cache, hidden, so that lists of different lengths go on side by side.
        """
        columns = torch.arange(self._mask.shape[1], device=counts.device)
        gone = columns >= self._mask.shape[1] - counts[:, None]
        self._mask = self._mask.masked_fill(gone, 0)
        self._next = self._next - counts[:, None]
        self._gaps = True

    def keep(self, rows: Tensor) -> None:
        """Go on with these lists only: positions in the batch, (b,)."""
        self._unshare()
        self._cache.batch_select_indices(rows)
        self.logits, self._mask, self._next = (
            x[rows] for x in (self.logits, self._mask, self._next)
        )

    def _spread(self, samples: int, shares: bool) -> None:
        """From prompts to lists: their cache is repeated, or shared."""
        if not shares:
            self._cache.batch_repeat_interleave(samples)
            return
        for layer in self._cache.layers:
            layer.share(samples, hiding(self._mask))
        self._shared = True

    def _unshare(self) -> None:
        if self._shared:
            for layer in self._cache.layers:
                layer.unshare()
        self._shared = False

    def _forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        if self._shared and self._gaps:
            bias = hiding(self._mask[:, self._prompt :])
            for layer in self._cache.layers:
                layer.hide(bias)
        with shared_attention(self._model) if self._shared else nullcontext():
            out = self._model(
                input_ids=ids,
                attention_mask=self._mask,
                position_ids=positions,
                use_cache=True,
                logits_to_keep=1,
                **{self._name: self._cache},
            )
        logits: Tensor = out.logits[:, -1]
        return logits
