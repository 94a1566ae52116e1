"""The settings in the key of a Rank-GRPO checkpoint."""

from __future__ import annotations

from typing import Any

from convrec.config import Config
from convrec.models.identity import prompt_settings


def config_subset(config: Config) -> dict[str, Any]:
    """All settings that can change the trained weights."""
    return {
        "seed": config.seed,
        "list_length": config.list_length,
        "years": config.recommend.years,
        "prompt": prompt_settings(config),
        "model": config.model.identity_settings(
            "max_prompt_tokens", "max_completion_tokens", "bf16"
        ),
        "rank_grpo": config.rank_grpo.identity_settings(exclude={"save_every", "vllm_url"}),
        **config.domain.identity_settings("line", "line_without_year"),
    }
