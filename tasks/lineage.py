"""The last step of every flow: draws which artifact came from which, and which run made it."""

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from convrec.artifacts.lineage import mermaid
from tasks.run import Run


@task(name="lineage", cache_policy=NO_CACHE, persist_result=False)
def draw(diagram: str) -> None:
    """Write the `lineage` artifact; its history is at /v2/artifacts/key/lineage."""
    create_markdown_artifact(diagram, key="lineage", description="where every artifact came from")


def lineage(run: Run) -> None:
    """Draw the artifacts of this run; each node opens the flow run that made it."""
    refs = [ref.artifact_id for ref in run.refs.values()]
    cached = {e["artifact_id"] for e in run.entries if e["state"] == "cached"}
    draw(mermaid(run.store, refs, cached))
