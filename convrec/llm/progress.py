"""The tally of a fetch: what has become of its requests so far, and how people are told."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from convrec.llm.prices import NO_USAGE, Usage
from convrec.utils.progress import Progress, silent


@dataclass
class FetchStats:
    """Counts of one fetch; other threads may read them.

    `found` were answered before or by others, `answered` were bought, `sent` went out (retries
    count once), `failures` maps a key to the reason, `pending` are done inside a batch that has not
    been collected. `note` is what is going on beside.
    """

    total: int
    progress: Progress = silent
    found: int = 0
    answered: int = 0
    sent: int = 0
    pending: int = 0
    usage: Usage = NO_USAGE
    usd: float = 0.0
    failures: dict[str, str] = field(default_factory=dict)
    note: str = ""
    started: float = field(default_factory=time.monotonic)

    @property
    def done(self) -> int:
        """Requests that came to an end, one way or another."""
        return self.found + self.answered + len(self.failures)

    def bill(self, usage: Usage, usd: float) -> None:
        """Count billed tokens and US dollars."""
        self.usage = self.usage + usage
        self.usd += usd

    def show(self) -> None:
        """Tell `progress` how far the fetch is."""
        self.progress(min(self.done + self.pending, self.total), self.total, self.text())

    def text(self) -> str:
        """Counts, tokens, dollars so far and projected, and the time left."""
        parts = [f"{self.found:,} from the store, {self.sent:,} sent, {len(self.failures)} failed"]
        tokens = self.usage.prompt + self.usage.completion
        if self.answered:
            left = max(0, self.total - self.done)
            whole = self.usd * (self.answered + left) / self.answered
            parts.append(f"{tokens:,} tokens, ${self.usd:.4f} of about ${whole:.4f}")
            if left:
                seconds = (time.monotonic() - self.started) * left / self.answered
                parts.append(f"{format_duration(seconds)} left")
        return "; ".join([*parts, self.note] if self.note else parts)


def format_duration(seconds: float) -> str:
    """A time as people say it: `40 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
