"""ablate: what each part of the method is worth on this data, and which settings suit it."""

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from convrec.pipeline.experiments.ablation.tables import ladder_markdown, search_markdown
from tasks.artifact import artifact_task
from tasks.run import Run

candidates_linked = artifact_task("candidates_linked")
candidates_similar = artifact_task("candidates_similar")
ablation = artifact_task("ablation")
search = artifact_task("search")


@task(name="ablation tables", cache_policy=NO_CACHE, persist_result=False)
def show(ladder: str, settings: str) -> None:
    """Write both tables as artifacts; their history is at /v2/artifacts/key/ablation-ladder."""
    create_markdown_artifact(ladder, key="ablation-ladder", description="gain of each rung")
    create_markdown_artifact(settings, key="ablation-search", description="settings tried")


def ablate(run: Run) -> None:
    """Measure every rung on test, and search the settings on validation."""
    run.make("candidates_linked", candidates_linked)
    run.make("candidates_similar", candidates_similar)
    run.make("ablation", ablation)
    run.make("search", search)
    if "ablation" in run.refs:
        ladder, tried = (run.store.read(run.refs[n].artifact_id) for n in ("ablation", "search"))
        show(ladder_markdown(ladder), search_markdown(tried))
