"""evaluate: lists are sampled on the test split, measured, and reported."""

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from convrec.config import StageName
from convrec.pipeline.external_checkpoint import CHECKPOINT, external_checkpoint
from convrec.pipeline.graph import NODES, of_stage
from convrec.stages.evaluate.report.markdown import evaluation_markdown
from convrec.stages.evaluate.report.model_card import write_card
from tasks.artifact import artifact_task
from tasks.run import Run
from tasks.task_input import TaskInput

generations_base = artifact_task("generations_base")
generations_sft = artifact_task("generations_sft")
generations_rank_grpo = artifact_task("generations_rank_grpo")
metrics = artifact_task("metrics")
report = artifact_task("report")


def evaluate(run: Run) -> None:
    """Sample lists of both checkpoints, measure every system, and write the report."""
    if not run.skipped(NODES["generations_base"]):
        run.make("generations_base", generations_base)
    run.make("generations_sft", generations_sft)
    run.make("generations_rank_grpo", generations_rank_grpo)
    run.make("metrics", metrics)
    run.make("report", report)
    _finish(run)


def evaluate_given(run: Run, checkpoint: str) -> None:
    """Measure one more checkpoint, a folder or an id, beside all that is stored."""
    nodes = external_checkpoint(run.store, checkpoint)
    if nodes.ref is not None:
        run.refs[CHECKPOINT] = nodes.ref
    for node in (nodes.generations, nodes.metrics, nodes.report):
        run.make(node, artifact_task(node))
    _finish(run)


def take_stored(run: Run, *stages: StageName) -> None:
    """Take the artifacts that are stored and leave out the others; build nothing, ask nobody."""
    for node in (node for stage in stages for node in of_stage(stage)):
        wanted = [name for name in node.reads.values() if not run.skipped(NODES[name])]
        if run.skipped(node) or any(name not in run.refs for name in wanted):
            continue
        ref = run.store.find(TaskInput(run, node, run.parents(node)).artifact_id)
        if ref is not None:
            run.refs[node.name] = ref


def _finish(run: Run) -> None:
    """Show the figures in Prefect, and write them into the model cards."""
    if "metrics" not in run.refs:
        return
    show(evaluation_markdown(run.store.read(run.refs["metrics"].artifact_id)))
    for name, ref in run.refs.items():
        if name.startswith("checkpoint_"):
            write_card(run.store, ref.artifact_id)


@task(name="evaluation tables", cache_policy=NO_CACHE, persist_result=False)
def show(tables: str) -> None:
    """Write the report's tables as an artifact."""
    create_markdown_artifact(tables, key="evaluation", description="every system on one footing")
