"""GRPO: one advantage per list, loss averaged over its tokens (DeepSeekMath, arXiv 2402.03300)."""

from __future__ import annotations

from convrec.stages.rank_grpo.algorithms.base import Algorithm

GRPO = Algorithm(arguments=lambda settings: {"loss_type": "grpo"})
