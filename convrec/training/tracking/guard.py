"""Calls of a tracker that can neither stop nor change a training.

A tracker may raise, or wait for a server that does not answer. Its calls run in a thread of their
own, in order, and each has a time limit. The first call that fails is logged as a warning and ends
the reports to that tracker.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch

from convrec.utils.error_text import first_line
from convrec.utils.warn_once import warn_once

START_SECONDS = 120.0
"""Time for importing a tracker's package, connecting, and creating the run."""

CALL_SECONDS = 30.0
"""Time for one report."""

MAX_REASON = 240
"""Characters of an error that are shown."""

INTERRUPTED_SECONDS = 1.0
"""Time for a last report if the run is interrupted."""


class Guard:
    """Runs the calls of one tracker until one of them fails."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.failed = False
        self._calls: SimpleQueue[tuple[Future[None], Callable[[], None]] | None] = SimpleQueue()
        # Trackers keep their current run per thread. A daemon thread never delays the exit.
        threading.Thread(target=self._work, name=f"tracker-{name}", daemon=True).start()

    def call(self, function: Callable[..., None], *args: Any, seconds: float = 0.0) -> bool:
        """Call `function(*args)`; whether it returned in time. Does nothing after a failure.

        `seconds` is the time limit, CALL_SECONDS by default. The random state of the calling
        thread's libraries is left as it was.
        """
        if self.failed:
            return False
        future: Future[None] = Future()
        limit = seconds or CALL_SECONDS
        with _unchanged_random_state():
            self._calls.put((future, lambda: function(*args)))
            try:
                future.result(limit)
            except TimeoutError:
                self._give_up(f"it did not answer within {limit:g} s")
            except Exception as error:
                self._give_up(first_line(error)[:MAX_REASON])
        return not self.failed

    def close(self) -> None:
        """End the thread once it has done all calls."""
        self._calls.put(None)

    def _give_up(self, reason: str) -> None:
        self.failed = True
        warn_once(
            f"train.report_to={self.name}: {reason}; the training goes on and is not reported to "
            f"{self.name} any more"
        )

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            future, function = call
            try:
                function()
            except BaseException as error:  # SystemExit, too, must not be lost with the thread
                future.set_exception(_as_exception(error))
            else:
                future.set_result(None)


def _as_exception(error: BaseException) -> Exception:
    return error if isinstance(error, Exception) else RuntimeError(repr(error))


@contextmanager
def _unchanged_random_state() -> Iterator[None]:
    """Restore the random state afterwards: a tracker may draw names, which no result may show."""
    python, torch_state = random.getstate(), torch.get_rng_state()
    numpy_state = np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)
