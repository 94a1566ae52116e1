"""Gather and scatter the weights and optimizer state that FSDP shards across processes.

Every process must call these functions at the same time. The first process holds the full state in
main memory; the others contribute and receive their shards.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from convrec.utils.distributed import is_sharded


class FullState(NamedTuple):
    """Weights by name, optimizer tensors by "weight.name", and the parameter groups.

    The weights are None if the model itself has all of them.
    """

    weights: dict[str, Any] | None
    tensors: dict[str, Any]
    groups: list[dict[str, Any]]


def flatten_state(state: Mapping[Any, Mapping[str, Any]]) -> dict[str, Any]:
    """An optimizer's tensors and numbers by "weight.name"."""
    return {
        f"{weight}.{name}": value.contiguous() if torch.is_tensor(value) else value
        for weight, values in state.items()
        for name, value in values.items()
    }


def unflatten_state(tensors: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The inverse of `flatten_state`."""
    state: dict[str, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        weight, _, name = key.rpartition(".")
        state.setdefault(weight, {})[name] = tensor
    return state


def is_fsdp(model: Any) -> bool:
    """Whether FSDP (version 2) shards the model's weights."""
    if not is_sharded():
        return False
    from torch.distributed.fsdp import FSDPModule

    return isinstance(model, FSDPModule)


def gather_full_state(model: Any, optimizer: Any) -> FullState:
    """The full state in the first process; empty in the others."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights, optimizer_state = get_state_dict(model, optimizer.optimizer, options=options)
    state: dict[str, Any] = dict(optimizer_state)
    return FullState(weights, flatten_state(state.get("state", {})), state.get("param_groups", []))


def scatter_full_state(model: Any, optimizer: Any, full: FullState) -> None:
    """Give each process its shards of the first one's state; the others pass an empty state.

    A weight that is tied to another may be missing.
    """
    from torch.distributed.checkpoint.state_dict import (
        StateDictOptions,
        set_model_state_dict,
        set_optimizer_state_dict,
    )

    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True, strict=False)
    set_model_state_dict(model, full.weights or {}, options=options)
    state = unflatten_state(full.tensors)
    optimizer_state: Any = {"state": state, "param_groups": full.groups} if state else {}
    set_optimizer_state_dict(model, optimizer.optimizer, optimizer_state, options=options)


def gather_weights(trainer: Any) -> dict[str, Any]:
    """All trained weights by name, sharded by FSDP or DeepSpeed; empty in the other processes."""
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped) or {}
    names = {name for name, weight in trainer.model.named_parameters() if weight.requires_grad}
    return {name: value.contiguous() for name, value in state.items() if name in names}


def reduce_in_float32(trainer: Any) -> None:
    """With FSDP in bf16, sum gradients in float32 and keep the loss in float32.

    Accelerate's own mixed-precision policy rounds both to the eight bits of bf16.
    """
    plugin = getattr(trainer.accelerator.state, "fsdp_plugin", None)
    if plugin is not None and plugin.fsdp_version == 2 and trainer.args.bf16:
        from torch.distributed.fsdp import MixedPrecisionPolicy

        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        plugin.mixed_precision_policy = policy
