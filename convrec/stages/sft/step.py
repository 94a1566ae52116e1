"""The step that trains a checkpoint on demonstrations."""

from __future__ import annotations

from typing import Any

from convrec.artifacts import StepResult
from convrec.config import Config
from convrec.models.identity import adapter_targets, base_digest, prompt_settings
from convrec.stages.base import Step, StepContext


def _config(config: Config) -> dict[str, Any]:
    return {
        "seed": config.seed,
        "sft": config.sft.identity_settings(),
        "model": config.model.identity_settings(),
        "prompt": prompt_settings(config),
    }


def _build(ctx: StepContext) -> StepResult:
    from convrec.stages.sft.build import build_sft

    return build_sft(ctx)


SFT = Step(
    stage="sft",
    kind="checkpoint",
    version=3,
    build=_build,
    config=_config,
    inputs=lambda ctx: {
        **base_digest(ctx.config),
        **adapter_targets(ctx.config, ctx.config.sft.lora),
    },
    folder=True,
)
"""Parents: `conversations`, `demonstrations`. The checkpoint's folder is the artifact's folder."""
