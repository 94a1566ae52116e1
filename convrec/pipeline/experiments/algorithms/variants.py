"""What a comparison can train: `ALGORITHM`, or `ALGORITHM:VARIANT`.

A variant is one or several of these, separated by commas:

    key=value             a setting of `rank_grpo`, such as early=-1 (VARIANT_KEYS)
    epsilon=VALUE         both clip ranges
    gN                    group_size=N, with as many lists in a step as the profile has
    log, exp_inf, exp:Γ   the reward of a rank
    published             the shaping values of the paper: early, exact, overflow and fault
    plain                 a baseline with NDCG as its only reward
    no_sft                starts from the base model instead of the SFT checkpoint

`sft:continued` and `sft:steps=N` train the SFT checkpoint further on its demonstrations.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from convrec.config import Config, RankGrpo
from convrec.config.choices import ALGORITHMS
from convrec.errors import ConfigError

SFT, CONTINUED = "sft", "continued"

PUBLISHED = {"early": -0.1, "exact": 0.1, "overflow": -0.1, "fault": 0.0}
"""The shaping values of the paper."""

VARIANT_KEYS = (
    "reward",
    "reduction",
    "group_size",
    "iterations",
    "sampler",
    "temperature",
    "beta",
    "epsilon_low",
    "epsilon_high",
    *PUBLISHED,
)
"""The keys of section `rank_grpo` that a variant can set."""

_RANK_KEYS = ("reward", "reduction")
"""Those that only Rank-GRPO reads."""


@dataclass(frozen=True)
class Variant:
    """What a name of a comparison stands for.

    Attributes:
        algorithm: `sft`, or a value of `rank_grpo.algorithm`.
        settings: Keys of section `rank_grpo` with their values.
        from_base: Whether to start from the base model.
        steps: Further steps of `sft`; 0: those that take as long as the reinforcement learning.
    """

    algorithm: str
    settings: dict[str, Any] = field(default_factory=dict)
    from_base: bool = False
    steps: int = 0


def parse_variant(text: str) -> Variant:
    """Read a name such as `rank_grpo:log,g4`. Raises ConfigError for an unknown one."""
    algorithm, colon, variant = text.partition(":")
    if algorithm == SFT:
        return _continued_sft(text, variant)
    if algorithm not in ALGORITHMS.names:
        raise ConfigError(
            f"unknown algorithm {text!r}: choose from {', '.join(ALGORITHMS.names)} and "
            f"{SFT}:{CONTINUED}, with a variant such as rank_grpo:log or rank_grpo:early=-1,exact=0"
        )
    is_baseline = algorithm != "rank_grpo"
    settings: dict[str, Any] = {"algorithm": algorithm, "reward_shaping": is_baseline}
    from_base = False
    for part in variant.split(",") if colon else ():
        if part == "no_sft":
            from_base = True
        else:
            settings |= _part_settings(part, text, is_baseline)
    return Variant(algorithm, settings, from_base)


def adapt_rank_grpo(config: Config, text: str, learning_rate: float) -> RankGrpo:
    """The section `rank_grpo` of a variant. Raises ConfigError if a value is not allowed."""
    before = config.rank_grpo
    changes = parse_variant(text).settings | {"learning_rate": learning_rate}
    try:
        settings = RankGrpo.model_validate({**before.model_dump(), **changes})
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}={first['input']!r}: " for part in first["loc"])
        raise ConfigError(f"{text}: {where}{first['msg'].removeprefix('Value error, ')}") from None
    lists = before.prompts_per_step * before.group_size
    if lists % settings.group_size:
        raise ConfigError(
            f"{text}: a step has {lists} lists, which groups of {settings.group_size} cannot "
            "share; choose a divisor"
        )
    return settings.model_copy(update={"prompts_per_step": lists // settings.group_size})


def _continued_sft(text: str, variant: str) -> Variant:
    if variant == CONTINUED:
        return Variant(SFT)
    if steps := re.fullmatch(r"steps=([1-9]\d*)", variant):
        return Variant(SFT, steps=int(steps[1]))
    raise ConfigError(f"unknown variant {text!r}: write {SFT}:{CONTINUED} or {SFT}:steps=N")


def _part_settings(part: str, text: str, is_baseline: bool) -> dict[str, Any]:
    """The settings of one part of a variant."""
    key, equals, value = part.partition("=")
    if equals and key == "epsilon":
        return {"epsilon_low": value, "epsilon_high": value}
    if equals and key in VARIANT_KEYS and not (is_baseline and key in _RANK_KEYS):
        return {key: value}
    if group := re.fullmatch(r"g(\d+)", part):
        return {"group_size": group[1]}
    if part == "published":
        return dict(PUBLISHED)
    if part == "plain" and is_baseline:
        return {"reward_shaping": False}
    if part and not equals and not is_baseline and part != "plain":
        return {"reward": part}
    keys = [name for name in VARIANT_KEYS if not (is_baseline and name in _RANK_KEYS)]
    words = "gN, published, plain and no_sft" if is_baseline else "gN, a reward, published, no_sft"
    raise ConfigError(
        f"unknown variant {text!r}: allowed are {words}, epsilon=VALUE, and key=value with "
        f"{', '.join(keys)}"
    )
