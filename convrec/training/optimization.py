"""The optimizer and the learning-rate schedule of a training, as arguments of transformers.

Schedules are those of `transformers.optimization`, optimizers those of torch and bitsandbytes.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

from convrec.config.sections import Training
from convrec.errors import TrainingError

TORCH_OPTIMIZER = "adamw_torch_fused"
"""The optimizer that runs everywhere."""


def optimization_arguments(settings: Training, steps: int) -> dict[str, Any]:
    """Arguments of `TrainingArguments` for the optimizer and the schedule over `steps` steps.

    Steps count from 1: with `schedule=drop`, step `drop_step` is the first with the lower rate.
    """
    optimizer = settings.optimizer
    return {
        "learning_rate": settings.learning_rate,
        "optim": optimizer.name,
        "adam_beta1": optimizer.beta1,
        "adam_beta2": optimizer.beta2,
        "adam_epsilon": optimizer.epsilon,
        "weight_decay": optimizer.weight_decay,
        "max_grad_norm": optimizer.max_grad_norm,
        **_schedule_arguments(settings, steps),
    }


def _schedule_arguments(settings: Training, steps: int) -> dict[str, Any]:
    warmup = math.ceil(steps * settings.warmup_ratio)
    if settings.schedule == "drop":
        # Without decay steps, this schedule drops at once. Its warm-up starts at the lower rate.
        shape = {
            "num_stable_steps": max(0, settings.drop_step - 1 - warmup),
            "num_decay_steps": 0,
            "min_lr_ratio": settings.drop_factor,
        }
        name = "warmup_stable_decay"
        return {"lr_scheduler_type": name, "lr_scheduler_kwargs": shape, "warmup_steps": warmup}
    is_plain = settings.schedule != "constant" or warmup == 0
    name = settings.schedule if is_plain else "constant_with_warmup"
    return {"lr_scheduler_type": name, "warmup_steps": warmup}


def missing_for_optimizer(settings: Training, section: str, gpus: int) -> str:
    """What a machine with so many GPUs lacks for the optimizer of a section; empty if nothing."""
    if not _needs_bitsandbytes(settings):
        return ""
    name, instead = settings.optimizer.name, f"set {section}.optimizer.name={TORCH_OPTIMIZER}"
    if find_spec("bitsandbytes") is None:
        return f"bitsandbytes is not installed; pip install bitsandbytes, or {instead}"
    if not gpus:
        return (
            f"{section}.optimizer.name={name} needs a GPU, but this machine has none; use another "
            f"machine, or {instead}"
        )
    return ""


def check_optimizer(settings: Training, section: str) -> None:
    """Raise TrainingError if this machine lacks what the optimizer of a section needs."""
    if not _needs_bitsandbytes(settings):
        return
    import torch

    if missing := missing_for_optimizer(settings, section, torch.cuda.device_count()):
        raise TrainingError(missing)


def _needs_bitsandbytes(settings: Training) -> bool:
    return settings.optimizer.name.startswith("paged_") or settings.optimizer.name.endswith("_8bit")
