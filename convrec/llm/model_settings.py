"""The request parameters that a model accepts: `llm.models`, else what its name tells."""

from __future__ import annotations

from typing import Any

from convrec.config import Config, ModelSettings
from convrec.errors import ConfigError
from convrec.llm.prices import token_rates

MIN_REASONING_TOKENS = 4000
"""Smallest completion limit of a reasoning model; with less it stops before it has answered."""

_DEFAULT = ModelSettings()


def model_settings(config: Config, model: str) -> ModelSettings:
    """The settings of a model in `llm.models`; all empty if it has none."""
    return config.llm.models.get(model, _DEFAULT)


def is_reasoning(config: Config, model: str) -> bool:
    """Whether a model is a reasoning model, by its settings or by the beginning of its name."""
    reasons = model_settings(config, model).reasons
    return bool(token_rates(model).get("reasoning")) if reasons is None else reasons


def chat_limits(
    config: Config, model: str, setting: str, max_tokens: int, temperature: float
) -> dict[str, Any]:
    """The length and temperature parameters of a chat request.

    Reasoning models take `max_completion_tokens`, which includes reasoning, and no temperature.
    Raises ConfigError, naming `setting`, if a reasoning model would get too few tokens.
    """
    settings, reasons = model_settings(config, model), is_reasoning(config, model)
    if reasons and max_tokens < MIN_REASONING_TOKENS:
        raise ConfigError(
            f"{setting}={max_tokens} is too small for {model}: the limit includes reasoning "
            f"tokens, so the model may stop before it answers. Set {setting} to "
            f"{MIN_REASONING_TOKENS} or more"
        )
    limits: dict[str, Any] = {}
    if settings.temperature is not None:
        limits["temperature"] = settings.temperature
    elif not reasons:
        limits["temperature"] = temperature
    name = settings.token_parameter or ("max_completion_tokens" if reasons else "max_tokens")
    limits[name] = max_tokens
    return {name: value for name, value in limits.items() if "none" not in (name, value)}
