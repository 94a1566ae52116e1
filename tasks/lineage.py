"""Draws what a run's artifacts were made from, at its end and when a step fails."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from convrec.artifacts.lineage import FailedNode, lineage_markdown, with_ancestors
from tasks.publish import artifact_page, as_uuid, find_pages, of_flow_run, publish_markdown

if TYPE_CHECKING:
    from convrec.artifacts import ArtifactRef
    from convrec.artifacts.record import ArtifactRecord
    from tasks.run import Run

LINEAGE = ("lineage", "Where every artifact came from")
"""Key and description of the Prefect artifact."""


@task(name="lineage", task_run_name="lineage", cache_policy=NO_CACHE, persist_result=False)
def draw_lineage(diagram: str) -> None:
    """Write the `lineage` artifact; its history is at /v2/artifacts/key/lineage."""
    publish_markdown(diagram, *LINEAGE)


def lineage(run: Run) -> None:
    """Draw the artifacts of this run; a click on a node opens the page with its figures."""
    draw_lineage(diagram(run))


def diagram(run: Run, failed: FailedNode | None = None) -> str:
    """The drawing and the table of a run's artifacts, in markdown."""
    names: dict[str, str] = {}
    for name, ref in run.refs.items():
        names.setdefault(ref.artifact_id, name)
    fresh = {entry["artifact_id"] for entry in run.entries if entry["state"] == "completed"}
    records = with_ancestors(run.store, [*names, *(failed.parents if failed else ())])
    return lineage_markdown(
        run.store,
        list(names),
        names.keys() - fresh,
        names,
        pages=run_pages(run.refs, records),
        failed=failed,
        run_id=run.run_id,
    )


def run_pages(refs: Mapping[str, ArtifactRef], records: Iterable[ArtifactRecord]) -> dict[str, str]:
    """Artifact → its page in this server; that of the report is what this run published."""
    pages = find_pages(records)
    if "report" in refs:
        with get_client(sync_client=True) as client:
            for artifact in of_flow_run(client, as_uuid(flow_run.id)):
                if artifact.key == "report":
                    pages[refs["report"].artifact_id] = artifact_page(artifact.id)
    return pages
