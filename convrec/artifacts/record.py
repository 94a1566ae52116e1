"""What the warehouse records about an artifact, apart from its rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from convrec.artifacts.identity import ArtifactRef, ArtifactSpec
from convrec.artifacts.tables import utc_now


@dataclass(frozen=True)
class Producer:
    """The Prefect run ids behind an artifact; empty outside Prefect."""

    flow_run_id: str = ""
    task_run_id: str = ""


@dataclass(frozen=True)
class ArtifactRecord:
    """The header of an artifact: everything except its rows."""

    ref: ArtifactRef
    version: int
    config: dict[str, Any]
    inputs: dict[str, str]
    parents: dict[str, str]
    """Role → artifact id."""
    figures: dict[str, Any]
    seconds: float
    created_at: datetime
    producer: Producer


COLUMNS = (
    "artifact_id, kind, stage, version, config, inputs, rows, partial, figures, seconds, "
    "created_at, flow_run_id, task_run_id"
)
"""Columns of the table `artifacts`, in the order of its values."""


def record_values(
    spec: ArtifactSpec,
    ref: ArtifactRef,
    figures: dict[str, Any],
    seconds: float,
    producer: Producer,
) -> list[Any]:
    """The row of a new artifact, in the order of COLUMNS."""
    return [
        ref.artifact_id,
        ref.kind,
        ref.stage,
        spec.version,
        json.dumps(dict(spec.config), sort_keys=True),
        json.dumps(dict(spec.inputs), sort_keys=True),
        ref.rows,
        ref.partial,
        json.dumps(figures),
        seconds,
        utc_now(),
        producer.flow_run_id,
        producer.task_run_id,
    ]


def parse_record(row: tuple[Any, ...], parents: dict[str, str]) -> ArtifactRecord:
    """The record in a row of COLUMNS."""
    artifact_id, kind, stage, version, config, inputs, rows, partial = row[:8]
    figures, seconds, created_at, flow_run_id, task_run_id = row[8:]
    return ArtifactRecord(
        ref=ArtifactRef(
            artifact_id=artifact_id, kind=kind, stage=stage, rows=rows, partial=partial
        ),
        version=version,
        config=json.loads(config),
        inputs=json.loads(inputs),
        parents=parents,
        figures=json.loads(figures),
        seconds=seconds,
        created_at=created_at,
        producer=Producer(flow_run_id, task_run_id),
    )
