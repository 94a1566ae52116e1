"""The drawing of what a run's artifacts were made from, with links to their pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from convrec.artifacts import ArtifactRef, Store
from convrec.artifacts.lineage import FailedNode, lineage_markdown, with_ancestors
from tasks.publish import artifact_page, as_uuid, find_pages, of_flow_run

if TYPE_CHECKING:
    from convrec.artifacts.record import ArtifactRecord

LINEAGE = ("lineage", "Where every artifact came from")
"""Key and description of the Prefect artifact."""


def diagram(
    store: Store,
    refs: Mapping[str, ArtifactRef],
    entries: Iterable[Mapping[str, Any]],
    run_id: str,
    failed: FailedNode | None = None,
) -> str:
    """The drawing and the table of a run's artifacts, in markdown.

    `entries` are those of the run's summary: they say what the run built.
    """
    names: dict[str, str] = {}
    for name, ref in refs.items():
        names.setdefault(ref.artifact_id, name)
    fresh = {entry["artifact_id"] for entry in entries if entry["state"] == "completed"}
    records = with_ancestors(store, [*names, *(failed.parents if failed else ())])
    return lineage_markdown(
        store,
        list(names),
        names.keys() - fresh,
        names,
        pages=run_pages(refs, records),
        failed=failed,
        run_id=run_id,
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
