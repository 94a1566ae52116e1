"""Keys that are set on a command line."""

from __future__ import annotations

import json
from collections.abc import Iterable
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
