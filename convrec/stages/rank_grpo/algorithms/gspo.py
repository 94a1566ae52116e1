"""GSPO: GRPO with one importance ratio per list (arXiv 2507.18071)."""

from __future__ import annotations

from convrec.stages.rank_grpo.algorithms.base import Algorithm

GSPO = Algorithm(
    arguments=lambda settings: {"loss_type": "grpo", "importance_sampling_level": "sequence"}
)
