"""ingest: files become `catalog`, `conversations` and `quarantine`."""

from tasks.artifact import artifact_task, may_pass
from tasks.run import Run

_again = {"retries": 2, "retry_delay_seconds": [1, 5], "retry_condition_fn": may_pass}

catalog = artifact_task("catalog", **_again)
conversations = artifact_task("conversations", **_again)
quarantine = artifact_task("quarantine", **_again)


def ingest(run: Run) -> None:
    """Read the catalog and the conversations; what cannot be used is kept with its reason."""
    run.make("catalog", catalog)
    run.make("conversations", conversations)
    run.make("quarantine", quarantine)
