"""Keys that are set on a command line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from convrec.errors import ConfigError


def parse_overrides(assignments: Iterable[str]) -> dict[str, Any]:
    """Read `section.key=value` strings; a value that is JSON is taken as JSON, else as text."""
    overrides: dict[str, Any] = {}
    for assignment in assignments:
        key, found, text = assignment.partition("=")
        if not found or not key.strip():
            raise ConfigError(
                f"--set {assignment!r} is not of the form section.key=value, as in seed=3"
            )
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = text
        overrides[key.strip()] = value
    return overrides


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values under dotted keys, as `--set` names them."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found.update(flattened(value, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = value
    return found


def as_override(value: Any) -> str:
    """A value as `--set` takes it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
