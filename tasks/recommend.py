"""recommend: the teacher is asked once a context; its lists are read from what is stored."""

from tasks.artifact import artifact_task, ask_task, may_pass
from tasks.run import Run

ask_teacher = ask_task(
    "teacher_lists", retries=2, retry_delay_seconds=[5, 30], retry_condition_fn=may_pass
)
teacher_lists = artifact_task("teacher_lists")


def recommend(run: Run) -> None:
    """Ask the teacher for the answers that are missing, then read all of them."""
    run.make("teacher_lists", teacher_lists, ask=ask_teacher)
