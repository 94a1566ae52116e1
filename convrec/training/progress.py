"""What a person who waits for a training reads: the last metrics, the speed, the time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from convrec.utils.progress import Progress, time_left


class TrainingProgress:
    """Reports the steps of a training with the time that it still takes.

    The time left follows from all steps since the first report, with the validations among them.
    """

    def __init__(self, progress: Progress, clock: Callable[[], float] = time.monotonic) -> None:
        self._progress = progress
        self._clock = clock
        self._first: tuple[int, float] | None = None
        self._tokens: tuple[float, float] | None = None
        self._text = ""

    def log(self, step: int, total: int, text: str, logs: Mapping[str, Any]) -> None:
        """Report a step that was logged. TRL counts the tokens so far as `num_tokens`."""
        self._text = ", ".join(filter(None, (text, self._speed(logs.get("num_tokens")))))
        self.step(step, total)

    def step(self, step: int, total: int) -> None:
        """Report a step with the text of the last log."""
        parts = (self._text, self._time_left(step, total))
        self._progress(step, total, ", ".join(filter(None, parts)))

    def _time_left(self, step: int, total: int) -> str:
        now = self._clock()
        if self._first is None:
            self._first = (step, now)
        first_step, started = self._first
        return time_left(step - first_step, total - step, now - started)

    def _speed(self, tokens: float | None) -> str:
        """Tokens a second since the previous log."""
        if tokens is None:
            return ""
        before, self._tokens = self._tokens, (tokens, self._clock())
        if before is None or self._tokens[1] <= before[1] or tokens <= before[0]:
            return ""
        speed = (tokens - before[0]) / (self._tokens[1] - before[1])
        return f"{speed:,.0f} tokens/s"
