"""The courier: sends what is missing, a bounded number at once, until every request has an end.

An end is an answer kept on disk, a recorded failure, or another process's answer. A slot is busy
from the call until its answer is fsynced, so a `kill -9` loses at most `llm.max_concurrency`
answers. The number of slots follows the endpoint: halved when it says 429, one more after a round
of successes; and no call goes out faster than the pace or beyond the budget allow.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator, Mapping

from convrec.errors import BudgetExceeded, ConvrecError, EndpointError
from convrec.llm.budget import max_usage
from convrec.llm.client import EndpointClient, Failure, Success
from convrec.llm.context import FetchContext
from convrec.llm.prices import Usage, cost
from convrec.llm.queue import QueuedRequest, RequestQueue
from convrec.llm.rate_limit import RateLimiter
from convrec.llm.requests import Request
from convrec.llm.response import make_response
from convrec.llm.spool import Spool
from convrec.llm.writer import ResponseWriter

FIRST_DELAY, LONGEST_DELAY = 0.25, 30.0
"""Seconds of back-off after the first failed attempt, and at most."""

UNREACHABLE_AFTER = 4
"""Attempts of one request after which an endpoint that never answered counts as unreachable."""

MAX_UNEXPLAINED = 10
"""Refusals without a known reason, and no answer at all, after which the run stops."""


class Dispatcher:
    """One live fetch in progress; counts in the errand's tally. `error` is what stopped it."""

    def __init__(self, missing: Iterator[Request], errand: FetchContext, spool: Spool) -> None:
        self.error: Exception | None = None
        self.queue = RequestQueue(missing, errand.answers, spool, errand.tally)
        self._errand, self._spool = errand, spool
        self._settings, self._tally, self._budget = errand.config.llm, errand.tally, errand.budget
        self._in_flight = 0
        self._slots = float(self._settings.max_concurrency)
        self._narrowed_at = 0.0
        self._reached = False
        self._answered = False
        self._streak = 0
        self._unexplained = 0
        self._stopped = False

    async def deliver(self) -> None:
        """Send until nothing is left or something stops us; what is in flight is always kept."""
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        settings, errand = self._settings, self._errand
        self._pace = RateLimiter(settings.max_rpm, settings.max_tpm, self._loop.time())
        self._caller = EndpointClient(errand.base_url, errand.key, settings.timeout, self._learn)
        self._keeper = ResponseWriter(errand.answers, self._spool)
        self._claiming: asyncio.Task[None] | None = None
        try:
            async with asyncio.TaskGroup() as calls:
                while work := await self._next():
                    self._pace.take(work.tokens, self._loop.time())
                    self._budget.reserve(work.bound)
                    self._in_flight += 1
                    calls.create_task(self._send(work))
        finally:
            if self._claiming:
                await self._claiming
            await self._keeper.close()
            await self._caller.close()

    def drain(self) -> None:
        """Send nothing more. To be called in the event loop."""
        self._stopped = True
        self._changed.set()

    # -- what to send next ---------------------------------------------------------------------

    async def _next(self) -> QueuedRequest | None:
        while not self._stopped:
            now = self._loop.time()
            if self._keeper.error:
                self._stop(self._keeper.error)
                break
            if self._claiming is None and self.queue.low(now):
                self._claiming = asyncio.create_task(self._claim(now))
            wait_until = self.queue.due
            if self._in_flight < int(self._slots):
                work = self._ready(now)
                if work is None:
                    if self.queue.empty and not (self._in_flight or self._claiming):
                        return None
                elif not self._budget.bears(work.bound):
                    self.queue.put_back(work)
                    wait_until = None
                    if not self._in_flight:
                        self._stop(self._broke(work))
                        break
                elif delay := self._pace.delay(work.tokens, now):
                    self.queue.put_back(work)
                    wait_until = now + delay
                else:
                    return work
            else:
                wait_until = None
            await self._pause(wait_until)
        return None

    def _ready(self, now: float) -> QueuedRequest | None:
        """The next request, with its most in tokens and dollars known."""
        work = self.queue.next(now, 8 * self._settings.max_concurrency if self._reached else 1)
        if work and not work.tokens:
            most = max_usage(work.request.body)
            work.tokens = most.prompt + most.completion
            work.bound = cost(self._errand.price(work.request), most)
        return work

    def _broke(self, work: QueuedRequest) -> BudgetExceeded:
        return BudgetExceeded(self._budget.refusal(self._errand.stage, work.bound))

    async def _pause(self, until: float | None) -> None:
        """Wait for something to change, or else for the moment when something falls due."""
        wait = None if until is None else max(0.001, until - self._loop.time())
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._changed.wait()

    async def _claim(self, now: float) -> None:
        """Claim the next chunk; a warehouse that fails stops us, and what is in flight is kept."""
        try:
            await self.queue.refill(now)
        except Exception as error:
            self._stop(error)
        finally:
            self._claiming = None
            self._changed.set()

    def _learn(self, headers: Mapping[str, str]) -> None:
        self._pace.learn(headers, self._loop.time())

    # -- one call ------------------------------------------------------------------------------

    async def _send(self, work: QueuedRequest) -> None:
        self._tally.sent += not work.attempts
        work.attempts += 1
        try:
            outcome = await self._caller.call(work.request)
            if isinstance(outcome, Success):
                await self._keep(work, outcome.response, outcome.usage)
                self._succeeded()
            else:
                if outcome.usage:
                    await self._keep(work, "", outcome.usage)
                self._failed(work, outcome)
        except Exception as error:
            self._stop(error)
        finally:
            self._budget.release(work.bound)
            self._in_flight -= 1
            self._changed.set()

    async def _keep(self, work: QueuedRequest, response: str, usage: Usage) -> None:
        request, errand = work.request, self._errand
        usd = cost(errand.price(request), usage)
        self._budget.bill(usd, work.bound)
        self._tally.bill(usage, usd)
        await self._keeper.keep(
            make_response(request, response, usage, usd, run=errand.run, stage=errand.stage)
        )

    def _succeeded(self) -> None:
        self._tally.answered += 1
        self._answered = self._reached = True
        self._streak = 0
        self._slots = min(self._slots + 1 / self._slots, float(self._settings.max_concurrency))

    def _failed(self, work: QueuedRequest, failure: Failure) -> None:
        self._reached |= not failure.unreachable
        if failure.kind == "terminal":
            self._stop(EndpointError(failure.reason))
        elif failure.kind == "request":
            self._tally.failures[work.request.key] = failure.reason
            self._unexplained += not failure.explained
            if self._unexplained >= MAX_UNEXPLAINED and not self._answered:
                self._stop(self._given_up(f"refused the first {MAX_UNEXPLAINED} requests", failure))
        else:
            self._again(work, failure)

    def _again(self, work: QueuedRequest, failure: Failure) -> None:
        """Give a request its next turn, later each time, or record that it had its last."""
        settings = self._settings
        self._streak += 1
        if failure.status == 429:
            self._narrow()
        if not self._reached and work.attempts >= min(UNREACHABLE_AFTER, settings.max_attempts):
            self._stop(
                EndpointError(
                    f"{self._caller.url} cannot be reached; start that server, or give another "
                    "address in llm.base_url or OPENAI_BASE_URL"
                )
            )
        elif self._streak >= settings.max_attempts * max(8, settings.max_concurrency):
            self._stop(self._given_up(f"failed {self._streak} times in a row", failure))
        elif work.attempts >= settings.max_attempts:
            attempts = f"{work.attempts} attempt{'s' * (work.attempts > 1)}"
            self._tally.failures[work.request.key] = f"{failure.reason} ({attempts})"
        else:
            backoff = min(FIRST_DELAY * 2 ** (work.attempts - 1), LONGEST_DELAY)
            delay = max(backoff * random.uniform(0.5, 1.5), failure.retry_after)
            self.queue.retry(work, self._loop.time() + delay)

    def _narrow(self) -> None:
        """Halve the slots, at most once a second: one burst of 429 is one signal."""
        now = self._loop.time()
        if now - self._narrowed_at >= 1:
            self._slots = max(1.0, self._slots / 2)
            self._narrowed_at = now

    def _given_up(self, what: str, failure: Failure) -> ConvrecError:
        return EndpointError(
            f"{self._caller.url} {what}, the last time: {failure.reason}; what was answered is "
            "kept, so mend the cause and run again to go on from here"
        )

    def _stop(self, error: Exception) -> None:
        self.error = self.error or error
        self.drain()
