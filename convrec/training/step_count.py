"""How many optimizer steps a training takes."""

from __future__ import annotations

import math

from convrec.config.sections import RankGrpo, Sft, Training
from convrec.errors import ConfigError


def sft_steps(rows: int, settings: Sft) -> int:
    """Optimizer steps for a number of demonstrations: `steps`, or those of `epochs`.

    The last step of an epoch has the rest of its rows.
    """
    return settings.steps or math.ceil(math.ceil(rows / settings.batch_size) * settings.epochs)


def rank_grpo_steps(samples: int, settings: RankGrpo) -> int:
    """Optimizer steps for a number of samples with ground truth: `steps`, or those of `epochs`.

    An epoch is ⌊samples / prompts_per_step⌋ generations of `iterations` steps each.
    """
    if not settings.epochs:
        return settings.steps
    generations = round(samples // settings.prompts_per_step * settings.epochs)
    return max(1, generations) * settings.iterations


def check_drop_step(settings: Training, steps: int, section: str) -> None:
    """Raise ConfigError if `drop_step` of a section is beyond the last step.

    A configuration that says its number of steps was checked when it was loaded; that of `epochs`
    is known with the data.
    """
    try:
        settings.check_drop_step(steps)
    except ValueError as error:
        raise ConfigError(f"{section}.{error}") from None
