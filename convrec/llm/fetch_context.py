"""Shared context of one fetch: configuration, stores, budget, endpoint, counts and progress."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from convrec.config import Config, Price
from convrec.llm.answer_check import AnswerCheck
from convrec.llm.budget import Budget
from convrec.llm.prices import NO_USAGE, Usage, price_of
from convrec.llm.requests import Request
from convrec.llm.response_store import ResponseStore
from convrec.utils.progress import Progress, no_progress, pace, time_left


@dataclass
class FetchStats:
    """Counts of one fetch, readable from other threads.

    Attributes:
        total: Requests needed, repeats included.
        found: Responses that were stored before, or bought by another process.
        sent: Requests sent; retries count once.
        pending: Requests done within batches that are not collected yet.
        failures: Request key → reason.
        activity: What the fetch does at the moment, if there is something to say.
    """

    total: int
    progress: Progress = no_progress
    found: int = 0
    bought: int = 0
    sent: int = 0
    pending: int = 0
    usage: Usage = NO_USAGE
    usd: float = 0.0
    failures: dict[str, str] = field(default_factory=dict)
    activity: str = ""
    started: float = field(default_factory=time.monotonic)

    @property
    def done(self) -> int:
        """Requests with a response or a failure."""
        return self.found + self.bought + len(self.failures)

    def bill(self, usage: Usage, usd: float) -> None:
        """Count billed tokens and US dollars."""
        self.usage = self.usage + usage
        self.usd += usd

    def report(self) -> None:
        """Call `progress` with the current counts."""
        self.progress(min(self.done + self.pending, self.total), self.total, self.text())

    def text(self) -> str:
        """Counts, tokens, dollars so far and projected, the rate and the time left."""
        parts = [f"{self.found:,} from the store, {self.sent:,} sent, {len(self.failures)} failed"]
        tokens = self.usage.prompt + self.usage.completion
        if self.bought:
            left, seconds = max(0, self.total - self.done), time.monotonic() - self.started
            projected = self.usd * (self.bought + left) / self.bought
            parts.append(f"{tokens:,} tokens, ${self.usd:.4f} of about ${projected:.4f}")
            parts += filter(
                None, (pace(self.bought, seconds), time_left(self.bought, left, seconds))
            )
        return "; ".join([*parts, self.activity] if self.activity else parts)


@dataclass
class FetchContext:
    """What live and batch requests share. `run` and `stage` identify the fetch in the ledger.

    `check` counts the answers that cannot be used; None if any answer can.
    """

    config: Config
    responses: ResponseStore
    stats: FetchStats
    budget: Budget
    stage: str
    run: str
    base_url: str
    key: str
    check: AnswerCheck | None = None

    @property
    def check_is_due(self) -> bool:
        """Whether to send nothing more before `settle_check`."""
        return self.check is not None and self.check.is_due

    def settle_check(self) -> None:
        """Decide whether to go on. Raises TooManyFailures if not."""
        if self.check is not None and self.check.is_due:
            self.budget.bill(self.check.settle(self.stats.usd), 0)

    def price(self, request: Request) -> Price:
        """The price of the request's model. Raises ConfigError if it has none."""
        return price_of(request.model, self.config)
