"""Saving a student, its LoRA configuration, and recognising errors for lack of memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from convrec.config import Lora
from convrec.models.hub import quiet
from convrec.models.load import Student


def lora_config(lora: Lora) -> Any:
    """The PEFT configuration, or None where all weights are trained."""
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


def save_student(student: Student, out: Path) -> Any:
    """Write weights (safetensors, adapters merged) and tokenizer to `out`; returns the model."""
    model = student.model
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    with quiet():
        model.save_pretrained(out)
    student.tokenizer.save_pretrained(out)
    return model


def out_of_memory(error: BaseException) -> bool:
    """Whether torch or Python gave up for want of memory, on a GPU or on the CPU."""
    text = str(error)
    return (
        isinstance(error, (torch.OutOfMemoryError, MemoryError))
        or "out of memory" in text
        or "can't allocate memory" in text
    )
