"""Configuration overrides as they are written on a command line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from convrec.errors import ConfigError


def parse_overrides(assignments: Iterable[str]) -> dict[str, Any]:
    """Parse `section.key=value` strings. A value that is not JSON is kept as text.

    Raises ConfigError for a string of another form.
    """
    overrides: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key.strip():
            raise ConfigError(
                f"--set {assignment!r} is invalid; write section.key=value, for example seed=3"
            )
        overrides[key.strip()] = text
        with suppress(ValueError, RecursionError):
            overrides[key.strip()] = json.loads(text)
    return overrides


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by dotted key, as `--set` names them."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def format_override(value: Any) -> str:
    """A value as `--set` takes it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
