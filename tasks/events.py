"""The log of a run: one line an event, with the ids of the run and of the artifact in it.

It goes to Prefect's log of the run, so it stands on the run's page and obeys PREFECT_LOGGING_LEVEL.
A line holds names, ids and counts; no post, title, answer or path is ever in one.
"""

from __future__ import annotations

from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger


def event(what: str, run_id: str, **facts: object) -> None:
    """Log `what` happened in a run, and the facts that are not None."""
    known = {"run": run_id or None, **facts}
    words = [what, *(f"{name}={value}" for name, value in known.items() if value is not None)]
    try:
        get_run_logger().info(" ".join(words))
    except MissingContextError:  # outside of a flow
        get_logger("convrec").info(" ".join(words))
