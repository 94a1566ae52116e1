"""Progress reports of long work."""

from __future__ import annotations

import time
from collections.abc import Callable

Progress = Callable[[int, int, str], None]
"""Called with the amount of work done, the total, and a text for people."""

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def no_progress(done: int, total: int, text: str) -> None:
    """Report nothing."""


def with_pace(progress: Progress, clock: Callable[[], float] = time.monotonic) -> Progress:
    """The same reports with how fast the work goes and how long the rest takes.

    Both follow from all reports since the first one; work with another total starts again.
    """
    first: tuple[int, int, float] | None = None

    def report(done: int, total: int, text: str) -> None:
        nonlocal first
        now = clock()
        if first is None or first[1] != total or first[0] > done:
            first = (done, total, now)
        rate = pace(done - first[0], now - first[2])
        left = time_left(done - first[0], total - done, now - first[2])
        progress(done, total, ", ".join(part for part in (text, rate, left) if part))

    return report


def pace(done: float, seconds: float) -> str:
    """How many a second, or a minute if they are few; empty if nothing is done."""
    if done <= 0 or seconds <= 0:
        return ""
    rate = done / seconds
    if rate >= 1:
        return f"{rate:,.0f}/s"
    return f"{60 * rate:.2g}/min"


def time_left(done: float, rest: float, seconds: float) -> str:
    """How long the rest takes if it goes as before; empty if that is unknown or it is done."""
    if done <= 0 or rest <= 0:
        return ""
    return f"{format_time(seconds / done * rest)} left"


def format_time(seconds: float) -> str:
    """A duration in its two largest units, such as `3 h 20 min`; seconds only below a minute."""
    rest = max(1, round(seconds))
    parts: list[str] = []
    for size, unit in _UNITS:
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append(f"{count} {unit}" if count else "")
    shown = [part for part in parts[:2] if part]
    return shown[0] if shown[-1].endswith(" s") else " ".join(shown)
