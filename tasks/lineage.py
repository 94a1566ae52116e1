"""The last drawing of a flow: what its artifacts were made from."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.diagram import LINEAGE, diagram
from tasks.publish import publish_markdown
from tasks.run import Run


@task(name="lineage", task_run_name="lineage", cache_policy=NO_CACHE, persist_result=False)
def draw_lineage(diagram: str) -> None:
    """Write the `lineage` artifact; its history is at /v2/artifacts/key/lineage."""
    publish_markdown(diagram, *LINEAGE)


def lineage(run: Run) -> None:
    """Draw the artifacts of this run; a click on a node opens the page with its figures."""
    draw_lineage(diagram(run.store, run.refs, run.entries, run.run_id))
