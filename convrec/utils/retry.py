"""Exponential back-off with jitter."""

from __future__ import annotations

import random
import time


class Backoff:
    """Waits between attempts: `first` seconds, doubling up to `longest`, each ±50% at random.

    `is_over` becomes True `timeout` seconds after construction.
    """

    def __init__(self, timeout: float, *, first: float, longest: float) -> None:
        self._deadline = time.monotonic() + timeout
        self._delay = first
        self._longest = longest

    @property
    def is_over(self) -> bool:
        """Whether the time for attempts has run out."""
        return time.monotonic() > self._deadline

    def sleep(self) -> None:
        """Wait before the next attempt."""
        time.sleep(self._delay * random.uniform(0.5, 1.5))
        self._delay = min(self._delay * 2, self._longest)
