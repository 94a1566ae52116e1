"""Overrides with which every stage of the demo does real work in seconds."""

from __future__ import annotations

from typing import Any

TINY_DEMO: dict[str, Any] = {
    "ingest.contexts": {"train": 24, "validation": 4, "test": 6},
    "model.hidden": 16,
    "model.layers": 1,
    "model.vocabulary": 400,
    "model.max_completion_tokens": 120,
    "list_length": 5,
    "reflect.top": 8,
    "remap.keep": 12,
    "remap.describe": "missing",
}
