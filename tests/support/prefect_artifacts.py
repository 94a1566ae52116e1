"""The artifacts that a flow run published in the Prefect UI."""

from __future__ import annotations

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterTaskRunId,
)
from prefect.client.schemas.objects import Artifact


def published_artifacts(flow_run_id: str) -> list[Artifact]:
    """In the order of creation, without progress bars and Prefect's own records."""
    of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
    with get_client(sync_client=True) as client:
        artifacts = client.read_artifacts(artifact_filter=of_run)
    artifacts.sort(key=lambda artifact: str(artifact.created))
    return [artifact for artifact in artifacts if artifact.type not in ("progress", None)]


def artifacts_of_task(task_run_id: str) -> dict[str | None, Artifact]:
    """The artifacts of a task run by key, without progress bars."""
    of_task = ArtifactFilter(task_run_id=ArtifactFilterTaskRunId(any_=[task_run_id]))
    with get_client(sync_client=True) as client:
        artifacts = client.read_artifacts(artifact_filter=of_task)
    return {artifact.key: artifact for artifact in artifacts if artifact.type != "progress"}


def artifacts_by_key(flow_run_id: str) -> dict[str | None, Artifact]:
    return {artifact.key: artifact for artifact in published_artifacts(flow_run_id)}
