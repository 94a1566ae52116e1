"""What a profile built last with the same settings: the side that a change is compared with.

A run leaves `<home>/runs/<run>.json` with its resolved configuration and the artifacts that it
used. The last one that differs in nothing but the catalog is what a change starts from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from convrec.config import DATA_STAGES, Config

if TYPE_CHECKING:
    from convrec.artifacts import ArtifactRef, Store


@dataclass(frozen=True)
class PreviousBuild:
    """The data artifacts of an earlier run, by kind; all of them are still stored."""

    run_id: str
    refs: Mapping[str, ArtifactRef]

    def has(self, kind: str) -> bool:
        """Whether the run made or found an artifact of this kind."""
        return kind in self.refs


def find_last_build(
    config: Config, store: Store, *, until: str = "demonstrations"
) -> PreviousBuild | None:
    """The last run of the profile with the same data settings that got as far as kind `until`.

    None where there is none, or where its artifacts are gone.
    """
    wanted = _settings(config)
    for record in _records(store):
        kinds = {
            entry["kind"]: entry["artifact_id"]
            for entry in reversed(record.get("stages", ()))  # its own come before its sources'
            if entry["stage"] in DATA_STAGES and entry["artifact_id"]
        }
        if until not in kinds or record.get("profile") != config.profile:
            continue
        if _recorded_settings(record) != wanted:
            continue
        refs = {kind: store.find(artifact_id) for kind, artifact_id in kinds.items()}
        kept = {kind: ref for kind, ref in refs.items() if ref is not None}
        if until in kept and "catalog" in kept:
            return PreviousBuild(str(record.get("flow_run_id", "")), kept)
    return None


def _records(store: Store) -> Iterator[dict[str, Any]]:
    """The records of runs, the newest first; one that cannot be read is left out."""
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
    except (KeyError, ValidationError):  # a record of a version with other settings
        return None


def _settings(config: Config) -> dict[str, Any]:
    """All that can change the data artifacts, but for the catalog."""
    values = config.model_dump(mode="json", include={*DATA_STAGES, "seed", "list_length", "domain"})
    del values["ingest"]["catalog"]
    return {**values, "endpoint": config.llm.endpoint or config.llm.base_url}
