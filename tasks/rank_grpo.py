"""rank_grpo: the student is rewarded rank by rank."""

from tasks.artifact import artifact_task
from tasks.run import Run

checkpoint_rank_grpo = artifact_task("checkpoint_rank_grpo", tags=["training"])


def rank_grpo(run: Run) -> None:
    """Train the SFT checkpoint on training ground truth with Rank-GRPO."""
    run.make("checkpoint_rank_grpo", checkpoint_rank_grpo)
