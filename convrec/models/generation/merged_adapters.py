"""Sample from a model with adapters as fast as from one without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from convrec.utils.distributed import is_sharded


@contextmanager
def merged_adapters(model: Any) -> Iterator[None]:
    """Let a model add its low-rank adapters to its weights inside the block.

    A linear layer then takes one product instead of three. Under autocast the sums have its dtype.
    Afterwards the weights are the same tensors as before. Adapters of sharded models, of modules
    that are not linear, and of weights that the embedding shares stay apart.
    """
    weights = {layer: layer.get_base_layer().weight for layer in _mergeable(model)}
    originals = {layer: weight.data for layer, weight in weights.items()}
    device = model.device.type
    autocast = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    try:
        with model.disable_adapter() if weights else nullcontext():
            for layer, weight in weights.items():
                (adapter,) = layer.active_adapters
                merged = weight.detach() + layer.get_delta_weight(adapter).detach()
                weight.data = merged.to(autocast or weight.dtype)
            yield
    finally:
        for layer, original in originals.items():
            weights[layer].data = original


def _mergeable(model: Any) -> list[Any]:
    """The layers with adapters; none if they cannot all be merged."""
    if is_sharded() or not hasattr(model, "peft_config"):
        return []
    from peft.tuners.lora import Linear, LoraLayer

    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    embedding = model.get_input_embeddings().weight
    can_merge = all(
        type(layer) is Linear and layer.get_base_layer().weight is not embedding for layer in layers
    )
    return layers if can_merge else []
