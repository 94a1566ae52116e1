"""The last task of a flow: draws the run's artifacts, their parents and the runs that made them."""

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from convrec.artifacts.lineage import lineage_markdown
from tasks.run import Run


@task(name="lineage", task_run_name="lineage", cache_policy=NO_CACHE, persist_result=False)
def draw_lineage(diagram: str) -> None:
    """Write the `lineage` artifact; its history is at /v2/artifacts/key/lineage."""
    create_markdown_artifact(diagram, key="lineage", description="where every artifact came from")


def lineage(run: Run) -> None:
    """Draw the artifacts of this run; a click on a node opens the flow run that made it."""
    names: dict[str, str] = {}
    for name, ref in run.refs.items():
        names.setdefault(ref.artifact_id, name)
    fresh = {entry["artifact_id"] for entry in run.entries if entry["state"] == "completed"}
    draw_lineage(lineage_markdown(run.store, list(names), names.keys() - fresh, names))
