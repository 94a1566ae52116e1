"""A key-value cache with preallocated memory: new tokens are written in place.

The cache of transformers concatenates old and new keys at every token. The copies took a seventh
of the decoding time of a small model on CPU, and up to half on machines with slow memory.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import (
    Cache,
    DynamicCache,
    DynamicLayer,
    LinearAttentionCacheLayerMixin,
)


class PreallocatedLayer(DynamicLayer):  # transformers is untyped
    """`keys` and `values` (B, heads, length, width) are views of the filled part of its buffers."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.capacity = capacity
        self._buffers: Sequence[Tensor] = ()

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append the new tokens and return all keys and values."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        old = self.keys.shape[2]
        new = old + key_states.shape[2]
        if not self._buffers or new > self._buffers[0].shape[2]:
            self._reallocate(self.capacity if new <= self.capacity else 2 * new)
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, old:new] = states
        self.keys, self.values = (buffer[:, :, :new] for buffer in self._buffers)
        return self.keys, self.values

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each row `repeats` times, the copies adjacent."""
        super().batch_repeat_interleave(repeats)
        self._buffers = ()

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep only these rows."""
        super().batch_select_indices(indices)
        self._buffers = ()

    def _reallocate(self, capacity: int) -> None:
        filled = (self.keys, self.values)
        self._buffers = [x.new_empty(*x.shape[:2], capacity, x.shape[3]) for x in filled]
        for buffer, x in zip(self._buffers, filled, strict=True):
            buffer[:, :, : x.shape[2]] = x


def preallocated_cache(
    config: Any, capacity: int, layer_type: type[PreallocatedLayer] = PreallocatedLayer
) -> Cache:
    """A cache for `config`'s layers that holds `capacity` tokens before it grows.

    Layers other than plain attention (sliding windows, recurrent states) stay transformers' own.
    """
    layers = DynamicCache(config=config).layers
    return Cache(layers=[layer_type(capacity) if type(x) is DynamicLayer else x for x in layers])


def repeat_rows(cache: Cache, rows: int, repeats: int) -> None:
    """Repeat each of the `rows` of a cache `repeats` times, the copies adjacent."""
    for layer in cache.layers:
        if isinstance(layer, LinearAttentionCacheLayerMixin):
            layer.reorder_cache(torch.arange(rows).repeat_interleave(repeats))
        else:
            layer.batch_repeat_interleave(repeats)


def select_rows(cache: Cache, indices: Tensor) -> None:
    """Keep only these rows of a cache."""
    for layer in cache.layers:
        if isinstance(layer, LinearAttentionCacheLayerMixin):
            layer.reorder_cache(indices)
        else:
            layer.batch_select_indices(indices)


def cache_argument(model: Any) -> str:
    """The name of the cache argument of the model's forward in this version of transformers."""
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "cache" if "cache" in inspect.signature(plain.forward).parameters else "past_key_values"
