"""DAPO: the loss is averaged over all tokens of the batch (arXiv 2503.14476)."""

from __future__ import annotations

from convrec.stages.rank_grpo.algorithms.base import Algorithm

DAPO = Algorithm(arguments=lambda settings: {"loss_type": "dapo"})
