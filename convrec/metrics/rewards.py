"""Rank rewards: what each rank of a list earns, from the relevance of the lines at and below it.

log       reward_k = Σ_{j≥k} rel_j / log2(j + 1), the discounted gain from rank k on
exp:Γ     reward_k = Σ_{j≥k} rel_j·Γ^-(j−k)
exp_inf   reward_k = rel_k, the limit of exp:Γ for a large Γ

Relevance is indexed by line (see `convrec.metrics.relevance`), so a line that cannot be parsed
earns nothing at its own rank and shifts no other. The published code indexes by parsed title.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from convrec.errors import ConfigError

RankReward = Callable[[Sequence[float]], list[float]]
"""Maps the relevance of ranks 1 to N to the rewards of ranks 1 to N."""


def log_rewards(relevance: Sequence[float]) -> list[float]:
    """Compute Σ_{j≥k} rel_j / log2(j + 1) for each rank k."""
    gains = [value / math.log2(rank + 2) for rank, value in enumerate(relevance)]
    return _discounted_sums(gains, 1.0)


def exp_rewards(gamma: float) -> RankReward:
    """Return the reward Σ_{j≥k} rel_j·Γ^-(j−k) for Γ = `gamma`."""
    return lambda relevance: _discounted_sums(relevance, 1 / gamma)


def exp_inf_rewards(relevance: Sequence[float]) -> list[float]:
    """Return rel_k for each rank k."""
    return [float(value) for value in relevance]


def parse_reward(name: str) -> RankReward:
    """Return the reward `log`, `exp_inf`, or `exp:Γ`. Raises ConfigError for another name."""
    if name == "log":
        return log_rewards
    if name == "exp_inf":
        return exp_inf_rewards
    kind, _, gamma = name.partition(":")
    try:
        if kind == "exp" and float(gamma) > 1:
            return exp_rewards(float(gamma))
    except ValueError:
        pass
    raise ConfigError(
        f"rank_grpo.reward={name!r} is unknown: allowed are log, exp_inf, and exp:Γ with Γ > 1"
    )


def _discounted_sums(values: Sequence[float], discount: float) -> list[float]:
    """Compute Σ_{j≥k} values_j·discount^(j−k) for each k."""
    sums: list[float] = []
    total = 0.0
    for value in reversed(values):
        total = value + discount * total
        sums.append(total)
    return sums[::-1]
