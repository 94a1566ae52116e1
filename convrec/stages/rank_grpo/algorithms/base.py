"""What defines a training algorithm within the shared harness."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trl import GRPOTrainer

from convrec.config import RankGrpo
from convrec.stages.rank_grpo.constrained_trainer import ConstrainedGRPOTrainer


@dataclass(frozen=True)
class Algorithm:
    """A training algorithm.

    Attributes:
        arguments: The section `rank_grpo` → arguments of TRL's GRPOConfig that differ from those
            of `trainer_arguments`.
        trainer: Trainer for lists sampled without a mask.
        constrained_trainer: Trainer for lists of the sampler `constrained`.
        rewards_ranks: Whether the trainers take a reward for every rank, as `RankGRPOTrainer`
            does. Otherwise the reward of a list is its NDCG@N.
    """

    arguments: Callable[[RankGrpo], Mapping[str, Any]] = lambda settings: {}
    trainer: type[GRPOTrainer] = GRPOTrainer
    constrained_trainer: type[GRPOTrainer] = ConstrainedGRPOTrainer
    rewards_ranks: bool = False
