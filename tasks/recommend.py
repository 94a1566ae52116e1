"""recommend: the teacher is asked once a context; its lists are read from what is stored."""

from tasks.artifact import artifact_task, ask_task
from tasks.run import Run

ask_teacher = ask_task("teacher_lists")
teacher_lists = artifact_task("teacher_lists")


def recommend(run: Run) -> None:
    """Ask the teacher for the answers that are missing, then read all of them."""
    run.make("teacher_lists", teacher_lists, ask=ask_teacher)
