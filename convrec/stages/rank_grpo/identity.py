"""The configuration keys that name a Rank-GRPO checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convrec.models.identity import prompt_settings

if TYPE_CHECKING:
    from convrec.config import Config


def config_subset(config: Config) -> dict[str, Any]:
    """Everything of the configuration that can change the trained weights."""
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
