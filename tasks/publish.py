"""Publishing Prefect artifacts, and finding those that runs have published.

The artifacts tab of a flow run has what people look for: the summary, the report, what was set
aside. Figures of one artifact of the warehouse are on the page of the task run that made it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterTaskRunId,
    TaskRunFilter,
    TaskRunFilterId,
)
from prefect.runtime import flow_run, task_run

if TYPE_CHECKING:
    from prefect.client.schemas.objects import Artifact

    from convrec.artifacts.record import ArtifactRecord

HIDDEN_TYPES = ("progress", "result", None)
"""Types of artifacts that the tab does not show as results; None is Prefect's own record."""

FIRST_PLACES = "8"
"""Ids from this digit on are left to what comes first in the tab of a flow run.

Prefect sorts the tab by the ids of artifacts, highest first, and the server draws them at random.
"""

MAX_DRAWS = 40
"""How often an artifact is written until its id has the right place."""

PAGE = 100
"""Task runs that are asked about at once."""


def publish_markdown(markdown: str, key: str, description: str) -> None:
    """Write a markdown artifact to the pages of this flow run and task run."""
    _publish(_artifact("markdown", markdown, key, description), lambda id_: id_ < FIRST_PLACES)


def publish_table(rows: Sequence[Mapping[str, Any]], key: str, description: str) -> None:
    """Write a searchable table to the pages of this flow run and task run."""
    data = json.dumps(rows)
    _publish(_artifact("table", data, key, description), lambda id_: id_ < FIRST_PLACES)


def publish_first(markdown: str, key: str, description: str) -> None:
    """Write a markdown artifact that is the first in the tab of this flow run."""
    with get_client(sync_client=True) as client:
        others = of_flow_run(client, as_uuid(flow_run.id))
    last = max((one.id.hex for one in others if one.key != key), default="")
    # Nothing that is published later gets an id from FIRST_PLACES on.
    lowest = max(last, FIRST_PLACES)
    _publish(_artifact("markdown", markdown, key, description), lambda id_: id_ > lowest)


def publish_for_task(rows: Sequence[Mapping[str, Any]], key: str, description: str) -> None:
    """Write a table to the page of this task run, and not to that of the flow run."""
    artifact = _artifact("table", json.dumps(rows), key, description)
    _publish(artifact.model_copy(update={"flow_run_id": None}), lambda id_: True)


def _artifact(kind: str, data: str, key: str, description: str) -> ArtifactCreate:
    return ArtifactCreate(
        key=key,
        type=kind,
        description=description,
        data=data,
        flow_run_id=as_uuid(flow_run.id),
        task_run_id=as_uuid(task_run.id),
    )


def _publish(artifact: ArtifactCreate, is_placed: Callable[[str], bool]) -> None:
    """Write an artifact, and again until its id has the right place in the tab."""
    with get_client(sync_client=True) as client:
        for draw in range(1, MAX_DRAWS + 1):
            published = client.create_artifact(artifact)
            if is_placed(published.id.hex) or draw == MAX_DRAWS:
                return
            client.delete_artifact(published.id)


def of_flow_run(client: SyncPrefectClient, flow_run_id: UUID | None) -> list[Artifact]:
    """What a flow run has published, in the order of creation, without progress bars."""
    if flow_run_id is None:
        return []
    one = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
    return _results(client.read_artifacts(artifact_filter=one))


def find_pages(records: Iterable[ArtifactRecord]) -> dict[str, str]:
    """Artifact of the warehouse → the page of its figures, else of the task run that made it.

    The page is empty if this server does not know the task run.
    """
    makers = {
        made_by: record.ref.artifact_id
        for record in records
        if (made_by := as_uuid(record.producer.task_run_id))
    }
    pages: dict[str, str] = {}
    ids = list(makers)
    with get_client(sync_client=True) as client:
        for start in range(0, len(ids), PAGE):
            wanted = ids[start : start + PAGE]
            known = client.read_task_runs(
                task_run_filter=TaskRunFilter(id=TaskRunFilterId(any_=wanted))
            )
            for made_by in {run.id for run in known}:
                pages[makers[made_by]] = f"/v2/runs/task-run/{made_by}"
            of_tasks = ArtifactFilter(task_run_id=ArtifactFilterTaskRunId(any_=wanted))
            for artifact in _results(client.read_artifacts(artifact_filter=of_tasks)):
                if artifact.task_run_id in makers:
                    pages[makers[artifact.task_run_id]] = artifact_page(artifact.id)  # the last
    return {makers[made_by]: "" for made_by in ids} | pages


def artifact_page(artifact_id: UUID) -> str:
    """The path of an artifact's page in Prefect's UI."""
    return f"/v2/artifacts/artifact/{artifact_id}"


def _results(found: Iterable[Artifact]) -> list[Artifact]:
    kept = [artifact for artifact in found if artifact.type not in HIDDEN_TYPES]
    return sorted(kept, key=lambda artifact: str(artifact.created))


def as_uuid(text: object) -> UUID | None:
    """A run's id; None outside of Prefect, and for text that is none."""
    try:
        return UUID(str(text))
    except ValueError:
        return None
