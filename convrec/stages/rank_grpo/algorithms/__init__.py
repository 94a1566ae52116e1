"""The algorithms of `rank_grpo.algorithm`. A new one is one file and one entry of ALGORITHMS."""

from __future__ import annotations

from convrec.config.choices import ALGORITHMS as ALLOWED
from convrec.stages.rank_grpo.algorithms.base import Algorithm
from convrec.stages.rank_grpo.algorithms.dapo import DAPO
from convrec.stages.rank_grpo.algorithms.dr_grpo import DR_GRPO
from convrec.stages.rank_grpo.algorithms.grpo import GRPO
from convrec.stages.rank_grpo.algorithms.gspo import GSPO
from convrec.stages.rank_grpo.algorithms.rank_grpo import RANK_GRPO_ALGORITHM

__all__ = ["ALGORITHMS", "Algorithm", "register_algorithm"]

ALGORITHMS: dict[str, Algorithm] = {
    "rank_grpo": RANK_GRPO_ALGORITHM,
    "grpo": GRPO,
    "gspo": GSPO,
    "dr_grpo": DR_GRPO,
    "dapo": DAPO,
}


def register_algorithm(name: str, algorithm: Algorithm) -> None:
    """Allow `rank_grpo.algorithm=name`; call it before the configuration is loaded."""
    ALGORITHMS[name] = algorithm
    ALLOWED.add(name)
