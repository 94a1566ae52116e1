"""Whether a model reads texts as long as the profile's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from convrec.config import Model
from convrec.errors import InputError

_EXTENDING = ("linear", "dynamic", "yarn")
"""Kinds of rope scaling whose factor multiplies the length."""


def check_positions(folder: Path, config: Any, settings: Model) -> str:
    """Compare the model's positions with prompt and completion. Raises InputError if too few."""
    limit = max_positions(config)
    if limit is None:
        return "it has no limit of positions"
    prompt, completion = settings.max_prompt_tokens, settings.max_completion_tokens
    if prompt + completion <= limit:
        return f"its {limit:,} positions hold {prompt} + {completion} tokens"
    if completion < limit:
        advice = f"set model.max_prompt_tokens={limit - completion} or lower"
    else:
        advice = "lower both"
    raise InputError(
        f"model.max_prompt_tokens={prompt} and model.max_completion_tokens={completion} need "
        f"{prompt + completion:,} positions, but the model in {folder} has {limit:,}; {advice}, "
        "or use a model for longer texts"
    )


def max_positions(config: Any) -> int | None:
    """The longest text of a model in tokens; None without a limit (Bloom).

    Rotary positions can be computed beyond it, but the model was not trained there.
    """
    config = config.get_text_config(decoder=True)
    for name in ("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx"):
        limit = getattr(config, name, None)
        if isinstance(limit, int) and limit > 0:
            return max([limit, *_extended(config, limit)])
    return None


def _extended(config: Any, limit: int) -> Iterator[int]:
    """The lengths that rope scaling extends a limit to."""
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    nested = [value for value in rope.values() if isinstance(value, dict)]
    for scaling in nested or [rope]:
        kind = scaling.get("rope_type") or scaling.get("type")
        factor = scaling.get("factor")
        if kind in _EXTENDING and isinstance(factor, (int, float)):
            original = scaling.get("original_max_position_embeddings") or limit
            yield int(original * factor)
