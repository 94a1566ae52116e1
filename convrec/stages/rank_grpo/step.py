"""The step that trains a checkpoint further on the conversations."""

from __future__ import annotations

from convrec.artifacts import StepResult
from convrec.stages.base import Step, StepContext
from convrec.stages.rank_grpo.identity import config_subset


def _build(ctx: StepContext) -> StepResult:
    from convrec.stages.rank_grpo.build import build_rank_grpo

    return build_rank_grpo(ctx)


RANK_GRPO = Step(
    stage="rank_grpo",
    kind="checkpoint",
    version=2,
    build=_build,
    config=config_subset,
    folder=True,
)
"""Parents: `checkpoint`, `conversations`, `catalog`."""
