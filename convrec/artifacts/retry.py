"""Running a write block anew that was not committed: on a lake, by conflict or a lost server."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from convrec.errors import CommitError

RETRY_TIMEOUT = 120.0
"""Seconds that a block waits for its turn, for a server that went away, or to be committed."""

P = ParamSpec("P")
T = TypeVar("T")


def with_retries(function: Callable[P, T]) -> Callable[P, T]:
    """Run a function anew while its one block was not committed; for PATIENCE at most."""

    @functools.wraps(function)
    def repeated(*args: P.args, **kwargs: P.kwargs) -> T:
        deadline, wait = time.monotonic() + RETRY_TIMEOUT, 0.02
        while True:
            try:
                return function(*args, **kwargs)
            except CommitError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(wait * random.uniform(0.5, 1.5))
            wait = min(wait * 2, 1.0)

    return repeated
