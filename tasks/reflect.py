"""reflect: the judge rates the top candidates of every context."""

from tasks.artifact import artifact_task, ask_task
from tasks.run import Run

ask_judge = ask_task("judgments")
judgments = artifact_task("judgments")


def reflect(run: Run) -> None:
    """Ask the judge for the ratings that are missing, then read all of them."""
    run.make("judgments", judgments, ask=ask_judge)
