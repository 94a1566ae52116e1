"""The log of a run: one line for each event, with the ids of the run and the artifact.

Lines go to the log of Prefect's flow run, so they appear on the run's page and obey
PREFECT_LOGGING_LEVEL. A line holds names, ids and counts, never a post, title, response or path.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger

_LOGGER = logging.getLogger("convrec")


def event(what: str, run_id: str, **facts: object) -> None:
    """Log what happened in a run, with the facts that are not None."""
    fields = {"run": run_id or None, **facts}
    words = [what, *(f"{name}={value}" for name, value in fields.items() if value is not None)]
    _run_logger().info(" ".join(words))


@contextmanager
def forwarded_warnings() -> Iterator[None]:
    """Copy the warnings of convrec, from any thread, to the log of the run."""
    handler = _Forward(_run_logger())
    _LOGGER.addHandler(handler)
    try:
        yield
    finally:
        _LOGGER.removeHandler(handler)


class _Forward(logging.Handler):
    def __init__(self, target: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> None:
        super().__init__(logging.WARNING)
        self._target = target

    def emit(self, record: logging.LogRecord) -> None:
        self._target.warning("%s", record.getMessage())


def _run_logger() -> logging.Logger | logging.LoggerAdapter[logging.Logger]:
    try:
        return get_run_logger()
    except MissingContextError:  # outside of a flow
        return get_logger("convrec")
