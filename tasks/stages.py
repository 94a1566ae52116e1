"""The stages as Prefect tasks: one for each node of the graph, with the options of its stage."""

from __future__ import annotations

from typing import Any

from convrec.config import DATA_STAGES, StageName
from convrec.pipeline.graph import NODES, PIPELINE, nodes_of
from convrec.stages.evaluate.vllm_engine import check_evaluation
from convrec.training.launch_settings import check_vllm_installed
from convrec.training.optimization import check_optimizer
from convrec.training.tracking.run import installed_trackers
from tasks.node_tasks import artifact_task, fetch_task, is_retryable
from tasks.run import Run
from tasks.unbuilt import unbuilt_nodes

OPTIONS: dict[StageName, dict[str, Any]] = {
    "ingest": {
        "retries": 2,
        "retry_delay_seconds": [1, 5],
        "retry_condition_fn": is_retryable,
    },
    "sft": {"tags": ["training"]},
    "rank_grpo": {"tags": ["training"]},
}
"""Options of Prefect for the tasks of a stage."""

TASKS = {name: artifact_task(node, **OPTIONS.get(node.stage, {})) for name, node in NODES.items()}
FETCH_TASKS = {node.name: fetch_task(node) for node in PIPELINE if node.step.responses}


def run_stage(run: Run, stage: StageName) -> None:
    """Make the artifacts of a stage, after fetching the LLM responses that they miss."""
    for node in nodes_of(stage):
        if node.optional and run.skipped(node):
            continue
        fetches = node.step.needs_responses(run.config)
        run.make(node, TASKS[node.name], FETCH_TASKS[node.name] if fetches else None)


def run_data_stages(run: Run) -> None:
    """Run the stages up to demonstrations."""
    for stage in DATA_STAGES:
        run_stage(run, stage)


def build_data(run: Run) -> None:
    """Run the data stages, for the profile and for each of its sources."""
    run_data_stages(run)
    for name in run.config.sources:
        source = run.source(name)
        run_data_stages(source)
        run.take(name, source)


def check_training(run: Run) -> None:
    """Raise InputError, ConfigError or TrainingError if this run's training cannot work here.

    Only what the run would train or sample is checked: a stored checkpoint needs no GPU. Warns of
    lists that would be cut, and of trackers that are not installed.
    """
    from convrec.models.checks import check_base_model
    from convrec.operations.sizing.preflight import refuse_impossible
    from convrec.operations.sizing.preflight_lists import refuse_cut_lists

    config, stages = run.config, model_stages(run)
    refuse_impossible(config, stages)
    for stage in ("sft", "rank_grpo"):
        if stage in stages:
            check_optimizer(getattr(config, stage), stage)
    if "rank_grpo" in stages:
        check_vllm_installed(config.rank_grpo)
    if "evaluate" in stages:
        check_evaluation(config)
    if not stages:
        return
    check_base_model(config, stages)
    if stages & {"sft", "rank_grpo"}:
        installed_trackers(config.train.report_to)
        refuse_cut_lists(config)


def model_stages(run: Run) -> set[StageName]:
    """The stages in which this run has to train a model or to sample from one."""
    kinds = ("checkpoint", "generations")
    return {node.stage for node in unbuilt_nodes(run) if node.step.kind in kinds}
