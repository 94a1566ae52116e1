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


def _build_untrained(ctx: StepContext) -> StepResult:
    from convrec.stages.sft.build import build_untrained

    return build_untrained(ctx)


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
"""Parents: `conversations`, `demonstrations`; with `checkpoint`, training continues from there.

The checkpoint's folder is the artifact's folder.
"""

UNTRAINED = Step(
    stage="sft",
    kind="checkpoint",
    version=1,
    build=_build_untrained,
    config=lambda config: {
        "untrained": True,
        "seed": config.seed,
        "model": config.model.identity_settings(),
        "prompt": prompt_settings(config),
    },
    inputs=lambda ctx: base_digest(ctx.config),
    folder=True,
)
"""The base model as a checkpoint, for reinforcement learning without SFT. Parents: as `SFT`."""
