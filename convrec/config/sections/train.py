"""The section that says how trainings are launched, and where they report to."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from convrec.config.base import Section
from convrec.config.choices import TRACKERS


class Train(Section):
    """How the trainings of sft and rank_grpo are launched. No part of any artifact id."""

    launcher: Literal["process", "accelerate"] = Field(
        "process", description="Train in the run's process, or with `accelerate launch`."
    )
    parallel: str = Field(
        "ddp",
        description="`ddp`, `fsdp`, `zero3` (DeepSpeed), or the path of an accelerate "
        "configuration file.",
    )
    processes: int = Field(
        0, ge=0, description="Training processes; 0: one per GPU, or as in that file."
    )
    gradient_checkpointing: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Recompute activations in the backward pass instead of keeping them. `auto`: "
        "where a step would not fit otherwise.",
    )
    attn_implementation: str = Field(
        "",
        description="Attention of transformers: `sdpa`, `eager`, `flash_attention_2` and others. "
        "Empty: the fastest for the processor.",
    )
    report_to: tuple[str, ...] = Field(
        (),
        description="Trackers to report trainings to, as transformers names them: `tensorboard`, "
        "`mlflow`, `wandb`, `trackio` and others.",
    )

    @field_validator("report_to", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(filter(None, value.split(","))) if isinstance(value, str) else value

    @field_validator("report_to")
    @classmethod
    def _check_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(TRACKERS.check(name.strip()) for name in value))
