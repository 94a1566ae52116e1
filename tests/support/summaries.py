"""Read the summary that a flow run returns."""

from __future__ import annotations

from typing import Any


def artifact_ids(summary: dict[str, Any]) -> list[str | None]:
    """The artifact id of each node, in the order of the run; None for a skipped node."""
    return [entry["artifact_id"] for entry in summary["stages"]]


def states_by_kind(summary: dict[str, Any]) -> dict[str, set[str]]:
    """Artifact kind → states of its nodes."""
    return _states(summary, "kind")


def states_by_stage(summary: dict[str, Any]) -> dict[str, set[str]]:
    """Stage → states of its nodes."""
    return _states(summary, "stage")


def _states(summary: dict[str, Any], key: str) -> dict[str, set[str]]:
    states: dict[str, set[str]] = {}
    for entry in summary["stages"]:
        states.setdefault(entry[key], set()).add(entry["state"])
    return states
