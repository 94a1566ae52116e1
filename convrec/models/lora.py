"""LoRA adapters."""

from __future__ import annotations

from typing import Any

from convrec.config import Lora


def lora_config(lora: Lora) -> Any:
    """The PEFT configuration, or None if all weights are trained."""
    if lora.rank == 0:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules),
        task_type="CAUSAL_LM",
    )
