"""The processes of one training, as described by the environment of `accelerate` and torchrun."""

from __future__ import annotations

import os

LAUNCHED = "CONVREC_LAUNCHED"
"""Variable set in processes whose launcher holds the lock of the working folder."""


def has_launcher() -> bool:
    """Whether the working folder is shared, and its lock held by the launcher of this process."""
    return LAUNCHED in os.environ or process_count() > 1


def process_count() -> int:
    """Number of processes that train together; 1 if this one was not launched."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this is the process that writes: the only one, or the first of several."""
    return os.environ.get("RANK", "0") == "0"


def is_sharded() -> bool:
    """Whether each process holds a shard of the weights, as with FSDP and ZeRO-3."""
    return _uses_plugin("FSDP") or _uses_plugin("DEEPSPEED")


def can_checkpoint() -> bool:
    """Whether a training of these processes can be saved and resumed; not with DeepSpeed."""
    return not is_sharded() or (_uses_plugin("FSDP") and os.environ.get("FSDP_VERSION") == "2")


def _uses_plugin(name: str) -> bool:
    return os.environ.get(f"ACCELERATE_USE_{name}", "").lower() == "true"


def barrier() -> None:
    """Wait until all processes reach this point."""
    if process_count() > 1:
        import torch

        torch.distributed.barrier()
