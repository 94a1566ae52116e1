"""Retries of write blocks that were not committed: on a lake, after a conflict or a lost server."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from convrec.errors import CommitError
from convrec.utils.retry import Backoff

RETRY_TIMEOUT = 120.0
"""Seconds that a block waits for a lock, for an unavailable server, or to be committed."""

P = ParamSpec("P")
T = TypeVar("T")


def with_retries(function: Callable[P, T]) -> Callable[P, T]:
    """Call a function with one write block again while it raises CommitError, up to a timeout."""

    @functools.wraps(function)
    def retried(*args: P.args, **kwargs: P.kwargs) -> T:
        backoff = Backoff(RETRY_TIMEOUT, first=0.02, longest=1.0)
        while True:
            try:
                return function(*args, **kwargs)
            except CommitError:
                if backoff.is_over:
                    raise
            backoff.sleep()

    return retried
