"""The step that trains a checkpoint further on the conversations."""

from __future__ import annotations

from typing import Any

from convrec.artifacts import StepResult
from convrec.config import Config
from convrec.models.identity import adapter_targets, prompt_settings
from convrec.stages.base import Step, StepContext
from convrec.stages.catalog_titles import alias_inputs


def _config(config: Config) -> dict[str, Any]:
    """All settings that can change the trained weights."""
    return {
        "seed": config.seed,
        "list_length": config.list_length,
        "years": config.recommend.years,
        "prompt": prompt_settings(config),
        "model": config.model.identity_settings(
            "max_prompt_tokens", "max_completion_tokens", "bf16", "weights"
        ),
        "rank_grpo": config.rank_grpo.identity_settings(),
        **config.domain.identity_settings("line", "line_without_year"),
    }


def _build(ctx: StepContext) -> StepResult:
    from convrec.stages.rank_grpo.build import build_rank_grpo

    return build_rank_grpo(ctx, _config(ctx.config))


RANK_GRPO = Step(
    stage="rank_grpo",
    kind="checkpoint",
    version=4,
    build=_build,
    config=_config,
    inputs=lambda ctx: adapter_targets(ctx.config, ctx.config.rank_grpo.lora) | alias_inputs(ctx),
    folder=True,
)
"""Parents: `checkpoint`, `conversations`, `catalog`."""
