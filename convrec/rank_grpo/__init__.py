"""Rank-GRPO: reinforcement learning that credits each rank of a list for what it earned.

Importing this package imports no torch; using one of its names but RANK_GRPO does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from convrec.lazy import exports

if TYPE_CHECKING:
    from convrec.rank_grpo.advantages import rank_advantages, token_advantages
    from convrec.rank_grpo.loss import rank_grpo_loss
    from convrec.rank_grpo.segments import segment_ranks
    from convrec.rank_grpo.step import RANK_GRPO
    from convrec.rank_grpo.trainer import RankGRPOTrainer

__all__ = [
    "RANK_GRPO",
    "RankGRPOTrainer",
    "rank_advantages",
    "rank_grpo_loss",
    "segment_ranks",
    "token_advantages",
]

__getattr__ = exports(
    __name__,
    {
        "RANK_GRPO": "step",
        "RankGRPOTrainer": "trainer",
        "rank_advantages": "advantages",
        "rank_grpo_loss": "loss",
        "segment_ranks": "segments",
        "token_advantages": "advantages",
    },
)
