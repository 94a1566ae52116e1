"""evaluate: lists are sampled on the test split, scored and reported."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from convrec.config import resolve_path
from convrec.pipeline.external_checkpoint import CHECKPOINT_ROLE, external_checkpoint
from convrec.stages.evaluate.report.markdown import evaluation_markdown
from convrec.stages.evaluate.report.model_card import write_model_card
from convrec.stages.evaluate.vllm_engine import check_evaluation
from tasks.node_tasks import artifact_task
from tasks.publish import publish_markdown
from tasks.report_link import report_page
from tasks.run import Run
from tasks.stages import model_stages, run_stage
from tasks.unbuilt import is_stored


def evaluate(run: Run) -> None:
    """Sample lists of both checkpoints, score every system, and write the report."""
    if "evaluate" in model_stages(run):
        check_evaluation(run.config)
    run_stage(run, "evaluate")
    _publish(run)


def evaluate_checkpoint(run: Run, checkpoint: str) -> None:
    """Score one more checkpoint, a folder or an id, together with all that is stored."""
    nodes = external_checkpoint(run.store, checkpoint)
    folder = resolve_path(checkpoint, "checkpoint")
    if nodes.ref is not None:
        run.refs[CHECKPOINT_ROLE] = nodes.ref
    if not all(is_stored(run, node) for node in nodes.generations):
        check_evaluation(run.config)
    if nodes.ref is None and folder.is_dir():
        from convrec.models.checks import check_folder

        check_folder(folder, run.config, {"evaluate"})
    for node in (*nodes.generations, nodes.metrics, nodes.report):
        run.make(node, artifact_task(node))
    _publish(run)


def _publish(run: Run) -> None:
    """Show the figures in Prefect, and write them into the model cards."""
    if "metrics" not in run.refs:
        return
    name = run.refs["metrics"].artifact_id
    tables = evaluation_markdown(run.store.read(name), run.store.header(name).figures)
    report = run.report
    page = report_page(run.refs["report"].artifact_id, report) if report else ""
    show_evaluation(tables, page)
    for name, ref in run.refs.items():
        if name.startswith("checkpoint_"):
            write_model_card(run.store, ref.artifact_id)


@task(name="evaluation tables", cache_policy=NO_CACHE, persist_result=False)
def show_evaluation(tables: str, report: str) -> None:
    """Write the report's tables and the way to the report as artifacts."""
    publish_markdown(tables, "evaluation", "All systems on the same samples")
    if report:
        publish_markdown(report, "report", "The HTML report of this run")
