"""Dr. GRPO: no division by list length and by the group's deviation (arXiv 2503.20783)."""

from __future__ import annotations

from convrec.stages.rank_grpo.algorithms.base import Algorithm

DR_GRPO = Algorithm(arguments=lambda settings: {"loss_type": "dr_grpo", "scale_rewards": "none"})
