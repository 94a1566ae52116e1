"""Rank-GRPO: reinforcement learning that credits each rank of a list for what it earned."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convrec.rank_grpo.advantages import rank_advantages, token_advantages
    from convrec.rank_grpo.loss import rank_grpo_loss
    from convrec.rank_grpo.segments import segment_ranks
    from convrec.rank_grpo.step import RANK_GRPO
    from convrec.rank_grpo.trainer import RankGRPOTrainer

_HOMES = {
    "RANK_GRPO": "step",
    "RankGRPOTrainer": "trainer",
    "rank_advantages": "advantages",
    "rank_grpo_loss": "loss",
    "segment_ranks": "segments",
    "token_advantages": "advantages",
}

__all__ = [
    "RANK_GRPO",
    "RankGRPOTrainer",
    "rank_advantages",
    "rank_grpo_loss",
    "segment_ranks",
    "token_advantages",
]


def __getattr__(name: str) -> Any:
    """Import torch and TRL only when one of the names is used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
