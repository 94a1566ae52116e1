"""ablate: what each part of the method is worth on this data, and which settings suit it."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from convrec.pipeline.experiments.ablation.ladder import missing_steps
from convrec.pipeline.experiments.ablation.tables import ladder_markdown, search_markdown
from convrec.pipeline.graph import EXPERIMENTS
from tasks.publish import publish_markdown
from tasks.run import Run
from tasks.stages import TASKS


@task(name="ablation tables", cache_policy=NO_CACHE, persist_result=False)
def show_ablation(ladder: str, settings: str) -> None:
    """Write both tables as artifacts; their history is at /v2/artifacts/key/ablation-ladder."""
    publish_markdown(ladder, "ablation-ladder", "What each part is worth")
    publish_markdown(settings, "ablation-search", "Settings that were tried")


def ablate(run: Run) -> None:
    """Score every rung on test, and search the settings on validation."""
    for node in EXPERIMENTS:
        run.make(node, TASKS[node.name])
    if "ablation" in run.refs:
        ladder, settings = (
            run.store.read(run.refs[name].artifact_id) for name in ("ablation", "search")
        )
        show_ablation(ladder_markdown(ladder, missing_steps(run.config)), search_markdown(settings))
