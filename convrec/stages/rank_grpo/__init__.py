"""rank_grpo: the SFT checkpoint is trained further with a reward for every rank of its lists.

The method itself is `convrec.rank_grpo`; this package is its harness: data, TRL arguments,
validation, callbacks and checkpoints.
"""

from convrec.stages.rank_grpo.step import RANK_GRPO

__all__ = ["RANK_GRPO"]
