"""Progress reports of long work."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int, str], None]
"""Called with the amount of work done, the total, and a text for people."""


def no_progress(done: int, total: int, text: str) -> None:
    """Report nothing."""
