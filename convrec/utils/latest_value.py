"""A cache of one value, for a process that needs the same large value several times in a row."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class LatestValue(Generic[T]):
    """Caches the latest value. One thread computes it while others wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: Hashable = None
        self._value: T | None = None

    def get(self, key: Hashable, compute: Callable[[], T]) -> T:
        """The cached value if it was computed for the same key, else a new one."""
        with self._lock:
            if self._value is None or self._key != key:
                self._value = None
                self._value, self._key = compute(), key
            return self._value
