"""Stage `rank_grpo`: the harness around the method in `convrec.rank_grpo`."""

from convrec.stages.rank_grpo.step import RANK_GRPO

__all__ = ["RANK_GRPO"]
