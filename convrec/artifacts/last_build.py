"""The last build of a profile with the same settings, with which a changed catalog is compared.

Each run writes `<home>/runs/<run>.json` with its resolved configuration and the artifacts that it
used. The last build is the newest run whose settings differ only in the catalog.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from convrec.artifacts.identity import ArtifactRef
from convrec.artifacts.store import Store
from convrec.config import DATA_STAGES, Config


@dataclass(frozen=True)
class PreviousBuild:
    """The data artifacts of an earlier run that are still stored, by kind."""

    run_id: str
    refs: Mapping[str, ArtifactRef]

    def has(self, kind: str) -> bool:
        """Whether the run used an artifact of this kind."""
        return kind in self.refs


def find_last_build(
    config: Config, store: Store, *, until: str = "demonstrations"
) -> PreviousBuild | None:
    """The last run of the profile with the same data settings that built the kind `until`.

    None if there is no such run, or if its artifacts were deleted.
    """
    settings = _settings(config)
    for record in _records(store):
        kinds = {
            entry["kind"]: entry["artifact_id"]
            # in reverse, as a run's own artifacts come before those of its sources
            for entry in reversed(record.get("stages", ()))
            if entry["stage"] in DATA_STAGES and entry["artifact_id"]
        }
        if until not in kinds or record.get("profile") != config.profile:
            continue
        if _recorded_settings(record) != settings:
            continue
        refs = {kind: store.find(artifact_id) for kind, artifact_id in kinds.items()}
        stored = {kind: ref for kind, ref in refs.items() if ref is not None}
        if until in stored and "catalog" in stored:
            return PreviousBuild(str(record.get("flow_run_id", "")), stored)
    return None


def _records(store: Store) -> Iterator[dict[str, Any]]:
    """The records of runs, newest first, without those that cannot be read."""
    paths = sorted(
        (store.home / "runs").glob("*.json"),
        key=lambda p: (p.stat().st_mtime, p.name),
        reverse=True,
    )
    for path in paths:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(record, dict):
            yield record


def _recorded_settings(record: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        return _settings(Config.model_validate(record["config"]))
    except (KeyError, ValidationError):  # written by a version with other settings
        return None


def _settings(config: Config) -> dict[str, Any]:
    """Everything that can change the data artifacts except the catalog."""
    values = config.model_dump(mode="json", include={*DATA_STAGES, "seed", "list_length", "domain"})
    del values["ingest"]["catalog"]
    return {**values, "endpoint": config.llm.endpoint or config.llm.base_url}
