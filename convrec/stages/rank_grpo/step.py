"""The rank_grpo stage as a step: a checkpoint trained further on the conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convrec.artifacts.step_result import StepResult
from convrec.stages.base import Step, StepContext
from convrec.stages.rank_grpo.identity import config_subset

if TYPE_CHECKING:
    pass


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
