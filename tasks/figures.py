"""An artifact of the warehouse as people read it in Prefect: one sentence, and rounded figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from convrec.artifacts import ArtifactRef

SIGNIFICANT = 4
"""Digits of a figure that is not a whole number."""

ROWS = {
    "catalog": "items that lists may name",
    "conversations": "conversations with liked items",
    "quarantine": "input rows set aside, and why",
    "teacher_lists": "lines that the teacher wrote",
    "descriptions": "items that the teacher described",
    "similarity_basis": "terms that texts are compared by",
    "candidates": "items that Remap found",
    "judgments": "candidates that the judge rated",
    "adjustment": "items with learned w and b",
    "demonstrations": "ranked lists to train on",
    "generations": "lists that a model wrote",
    "metrics": "scores of all systems",
    "ablation": "scores of parts of the build",
    "search": "settings that were tried",
}
"""Kind → what its rows are."""

FILES = {"checkpoint": "A trained model", "report": "The HTML report"}
"""Kind of artifacts that are files → what they are."""

FIGURES = {
    "from_ledger": "answered from the store",
    "prompt_tokens": "prompt tokens",
    "completion_tokens": "completion tokens",
    "usd": "US dollars",
    "failed": "without an answer",
}
"""Names of requests' figures where the name in JSON is not a word."""


def describe(ref: ArtifactRef) -> str:
    """What an artifact is and how much of it, such as `2,400 ranked lists to train on`."""
    if ref.kind in FILES:
        return f"{FILES[ref.kind]}, made by stage {ref.stage}"
    partial = "; partial: some are missing" if ref.partial else ""
    return f"{ref.rows:,} {ROWS.get(ref.kind, 'rows')}{partial}"


def figure_rows(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a table artifact: each figure once, numbers rounded."""
    return [
        {"figure": FIGURES.get(name, name), "value": rounded(value)}
        for name, value in figures.items()
    ]


def rounded(value: Any) -> Any:
    """A number with SIGNIFICANT digits, inside lists and mappings too; other values unchanged."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        short = float(f"{value:.{SIGNIFICANT}g}")
        return int(value) if value.is_integer() else round(value) if abs(value) >= 1000 else short
    if isinstance(value, Mapping):
        return {name: rounded(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    return value
