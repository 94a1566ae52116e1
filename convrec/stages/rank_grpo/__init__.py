"""Stage `rank_grpo`: train the SFT checkpoint further with a reward for each rank of its lists.

The method itself is `convrec.rank_grpo`. This package is the harness around it: data, TRL
arguments, validation, callbacks and checkpoints.
"""

from convrec.stages.rank_grpo.step import RANK_GRPO

__all__ = ["RANK_GRPO"]
