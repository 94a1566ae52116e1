"""Rank-GRPO: rewards, advantages and importance ratios per rank (ConvRec-R1, arXiv 2510.20150)."""

from __future__ import annotations

from convrec.rank_grpo.trainer import LOSS_TYPE, RankGRPOTrainer
from convrec.stages.rank_grpo.algorithms.base import Algorithm
from convrec.stages.rank_grpo.constrained_trainer import ConstrainedRankGRPOTrainer

RANK_GRPO_ALGORITHM = Algorithm(
    arguments=lambda settings: {"loss_type": LOSS_TYPE[settings.reduction]},
    trainer=RankGRPOTrainer,
    constrained_trainer=ConstrainedRankGRPOTrainer,
    rewards_ranks=True,
)
