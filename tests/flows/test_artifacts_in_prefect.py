from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

from flows.pipeline import pipeline


def artifacts_of(flow_run_id: str) -> dict[str, Any]:
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
        )
    return {artifact.key: artifact for artifact in found}


def test_figures_and_lineage_are_in_the_ui(home: Path, small: dict[str, Any]) -> None:
    first = pipeline(profile="demo", overrides=small, until="remap")
    shown = artifacts_of(first["flow_run_id"])
    assert {"catalog", "conversations", "quarantine", "teacher-lists", "candidates"} <= set(shown)
    assert "linked" in shown["candidates"].data
    drawn = shown["lineage"].data
    assert f'href "/v2/runs/flow-run/{first["flow_run_id"]}"' in drawn

    second = pipeline(profile="demo", overrides=small, until="remap")
    shown = artifacts_of(second["flow_run_id"])
    assert set(shown) == {"lineage"}
    assert f'href "/v2/runs/flow-run/{first["flow_run_id"]}"' in shown["lineage"].data
    assert "cached" in shown["lineage"].data
