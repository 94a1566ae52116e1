"""Rank-GRPO: reinforcement learning whose action is a rank of the list, not a token or the list.

Paper: ConvRec-R1, arXiv 2510.20150. The functions are pure and need only torch. `RankGRPOTrainer`
is imported on first use because importing TRL takes seconds.
"""

from __future__ import annotations

from typing import Any

from convrec.rank_grpo.advantages import rank_advantages, token_advantages
from convrec.rank_grpo.reference_loss import rank_grpo_loss
from convrec.rank_grpo.segments import segment_ranks

__all__ = [
    "RankGRPOTrainer",
    "rank_advantages",
    "rank_grpo_loss",
    "segment_ranks",
    "token_advantages",
]


def __getattr__(name: str) -> Any:
    if name == "RankGRPOTrainer":
        from convrec.rank_grpo.trainer import RankGRPOTrainer

        return RankGRPOTrainer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
