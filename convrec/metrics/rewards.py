"""What each rank of a list earns: relevance by line, carried to the ranks that led to it.

Rewards are indexed by line (`convrec.metrics.relevance`), so a line that cannot be read earns
nothing at its own rank and shifts no other; the published code indexes them by parsed title. `log`
is the discounted gain from a rank on, `exp_inf` the rank's own relevance, `exp:Γ` lies between
them. No torch here: evaluation uses this module too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from convrec.errors import ConfigError

Reward = Callable[[Sequence[float]], list[float]]
"""From the relevance of ranks 1 to N to the rewards of ranks 1 to N."""


def log_rewards(relevance: Sequence[float]) -> list[float]:
    """The sum over j from k on of rel_j / log2(j+1), for each rank k."""
    gains = [value / math.log2(rank + 2) for rank, value in enumerate(relevance)]
    return _discounted_sums(gains, 1.0)


def exp_rewards(gamma: float) -> Reward:
    """The reward whose rank k earns the sum over j from k on of rel_j·Γ^-(j-k)."""
    return lambda relevance: _discounted_sums(relevance, 1 / gamma)


def exp_inf(relevance: Sequence[float]) -> list[float]:
    """Each rank's own relevance: the limit of `exp_rewards` for a large Γ."""
    return [float(value) for value in relevance]


def reward_named(name: str) -> Reward:
    """The reward that a config names: `log`, `exp_inf`, or `exp:Γ`. Raises ConfigError."""
    if name == "log":
        return log_rewards
    if name == "exp_inf":
        return exp_inf
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
    """Sum over j from k on of values_j·discount^(j-k), for each k."""
    sums: list[float] = []
    total = 0.0
    for value in reversed(values):
        total = value + discount * total
        sums.append(total)
    return sums[::-1]
