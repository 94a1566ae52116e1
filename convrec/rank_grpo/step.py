"""The rank_grpo stage as a step: a checkpoint trained further on the conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convrec.artifacts.step import Built, Job, Step
from convrec.sft import prompt_settings

if TYPE_CHECKING:
    from convrec.config import Config


def _build(job: Job) -> Built:
    from convrec.training.build import build_rank_grpo

    return build_rank_grpo(job)


def config_subset(config: Config) -> dict[str, Any]:
    """Everything of the configuration that can change the trained weights."""
    return {
        "seed": config.seed,
        "list_length": config.list_length,
        "years": config.recommend.years,
        "prompt": prompt_settings(config),
        "model": config.model.model_dump(
            mode="json", include={"max_prompt_tokens", "max_completion_tokens", "bf16"}
        ),
        "rank_grpo": config.rank_grpo.model_dump(mode="json", exclude={"save_every", "vllm_url"}),
        **config.domain.changed("line", "line_without_year"),
    }


RANK_GRPO = Step(
    stage="rank_grpo",
    kind="checkpoint",
    version=2,
    build=_build,
    config=config_subset,
    folder=True,
)
