"""The processes that train together, as `accelerate launch` and torchrun tell each of them."""

from __future__ import annotations

import os

LAUNCHED = "CONVREC_LAUNCHED"
"""Set in processes whose launcher holds the working folder."""


def has_launcher() -> bool:
    """Whether the working folder is held by whoever launched this process, and shared."""
    return LAUNCHED in os.environ or process_count() > 1


def process_count() -> int:
    """How many processes train together; 1 where nothing launched this one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this is the process that writes: the only one, or the first of several."""
    return os.environ.get("RANK", "0") == "0"


def is_sharded() -> bool:
    """Whether a process holds but a part of the weights, as FSDP and ZeRO-3 have it."""
    return _uses_plugin("FSDP") or _uses_plugin("DEEPSPEED")


def can_checkpoint() -> bool:
    """Whether a training of these processes can be saved, to go on later; DeepSpeed's cannot."""
    return not is_sharded() or (_uses_plugin("FSDP") and os.environ.get("FSDP_VERSION") == "2")


def _uses_plugin(what: str) -> bool:
    return os.environ.get(f"ACCELERATE_USE_{what}", "").lower() == "true"


def barrier() -> None:
    """Go on when all processes have come here."""
    if process_count() > 1:
        import torch

        torch.distributed.barrier()
