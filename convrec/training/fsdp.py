"""Weights and optimizer that the processes of FSDP hold in parts: put together, and cut again.

Every process has to come here together. The first one holds the whole, in main memory; the others
give and take their parts of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from convrec.utils.distributed import is_sharded

if TYPE_CHECKING:
    from transformers import Trainer


class FullState(NamedTuple):
    """Weights by name, the optimizer's tensors by "weight.name", and its groups."""

    weights: dict[str, Any]
    tensors: dict[str, Any]
    groups: list[dict[str, Any]]


def is_fsdp(model: Any) -> bool:
    """Whether FSDP (version 2) has given each process a part of the weights."""
    if not is_sharded():
        return False
    from torch.distributed.fsdp import FSDPModule

    return isinstance(model, FSDPModule)


def gather_full_state(model: Any, optimizer: Any) -> FullState:
    """The whole of both; empty in every process but the first."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights, optimized = get_state_dict(model, optimizer.optimizer, options=options)
    found: dict[str, Any] = dict(optimized)
    tensors = {
        f"{weight}.{name}": value
        for weight, values in found.get("state", {}).items()
        for name, value in values.items()
    }
    return FullState(weights, tensors, found.get("param_groups", []))


def scatter_full_state(model: Any, optimizer: Any, whole: FullState) -> None:
    """Give each process its part of what the first one has; the others pass an empty whole.

    A weight that is tied to another may be missing.
    """
    from torch.distributed.checkpoint.state_dict import (
        StateDictOptions,
        set_model_state_dict,
        set_optimizer_state_dict,
    )

    state: dict[str, Any] = {}
    for name, tensor in whole.tensors.items():
        weight, _, part = name.rpartition(".")
        state.setdefault(weight, {})[part] = tensor
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True, strict=False)
    set_model_state_dict(model, whole.weights, options=options)
    optimized: Any = {"state": state, "param_groups": whole.groups} if state else {}
    set_optimizer_state_dict(model, optimizer.optimizer, optimized, options=options)


def add_up_exactly(trainer: Trainer) -> None:
    """Under bf16, have gradients summed over the processes in float32, and the loss left so.

    The policy of accelerate rounds both to the eight bits of bf16.
    """
    plugin = getattr(trainer.accelerator.state, "fsdp_plugin", None)
    if plugin is not None and plugin.fsdp_version == 2 and trainer.args.bf16:
        from torch.distributed.fsdp import MixedPrecisionPolicy

        exact = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        plugin.mixed_precision_policy = exact
