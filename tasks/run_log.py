"""The log of a run: one line for each event, with the ids of the run and the artifact.

Lines go to the log of Prefect's flow run, so they appear on the run's page and obey
PREFECT_LOGGING_LEVEL. A line holds names, ids and counts, never a post, title, response or path.
"""

from __future__ import annotations

from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger


def event(what: str, run_id: str, **facts: object) -> None:
    """Log what happened in a run, with the facts that are not None."""
    fields = {"run": run_id or None, **facts}
    words = [what, *(f"{name}={value}" for name, value in fields.items() if value is not None)]
    try:
        get_run_logger().info(" ".join(words))
    except MissingContextError:  # outside of a flow
        get_logger("convrec").info(" ".join(words))
