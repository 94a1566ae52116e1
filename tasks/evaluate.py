"""evaluate: lists are sampled on the test split, measured, and reported."""

from convrec.pipeline import NODES
from tasks.artifact import artifact_task
from tasks.run import Run

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
