"""A key-value cache with room: new tokens are written in place instead of copying all before them.

The cache of transformers joins old and new keys at every token. Copying them was a seventh of the
time of a small model on CPU, and up to half where memory is slow.
"""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer


def roomy_cache(config: Any, room: int, kind: type[RoomyLayer] | None = None) -> Cache:
    """A cache for `config`'s layers that holds `room` tokens before it has to grow.

    Layers that are not plain attention (sliding windows, states) stay those of transformers.
    """
    make = kind or RoomyLayer
    layers = DynamicCache(config=config).layers
    return Cache(layers=[make(room) if type(x) is DynamicLayer else x for x in layers])


class RoomyLayer(DynamicLayer):  # transformers is untyped
    """`keys` and `values` (B, heads, length, width) are views of the filled part of its memory."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self._memory: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append the new tokens and return all keys and values."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        old = self.keys.shape[2]
        new = old + key_states.shape[2]
        if self._memory is None or new > self._memory[0].shape[2]:
            self._move(max(self.room, 2 * new if new > self.room else new))
        assert self._memory is not None
        for memory, states in zip(self._memory, (key_states, value_states), strict=True):
            memory[:, :, old:new] = states
        self.keys, self.values = (memory[:, :, :new] for memory in self._memory)
        return self.keys, self.values

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Each row `repeats` times, one after another."""
        super().batch_repeat_interleave(repeats)
        self._memory = None

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows only."""
        super().batch_select_indices(indices)
        self._memory = None

    def _move(self, room: int) -> None:
        """Into new memory with room for `room` tokens."""
        old = self.keys.shape[2]
        moved = []
        for tensor in (self.keys, self.values):
            batch, heads, _, width = tensor.shape
            memory = tensor.new_empty(batch, heads, room, width)
            memory[:, :, :old] = tensor
            moved.append(memory)
        self._memory = (moved[0], moved[1])


def cache_argument(model: Any) -> str:
    """What this version of transformers calls the cache in a model's forward."""
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "cache" if "cache" in inspect.signature(plain.forward).parameters else "past_key_values"
