"""Send missing requests, a bounded number at once, until each has a response or a failure.

A request occupies a slot until its response is fsynced, so `kill -9` loses at most
`llm.max_concurrency` responses. The number of slots adapts to the endpoint: a 429 halves it, a
round of successes adds one. Rate limits and the budget can delay or stop the next request.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator

from convrec.errors import BudgetExceeded, EndpointError
from convrec.llm.budget import max_usage
from convrec.llm.client import EndpointClient
from convrec.llm.fetch_context import FetchContext
from convrec.llm.outcome import Failure, Success
from convrec.llm.prices import Usage, cost
from convrec.llm.queue import QueuedRequest, RequestQueue
from convrec.llm.rate_limit import RateLimiter
from convrec.llm.requests import Request
from convrec.llm.response import make_response
from convrec.llm.spool import Spool
from convrec.llm.writer import ResponseWriter

INITIAL_DELAY, MAX_DELAY = 0.25, 30.0
"""Seconds of back-off after the first failed attempt, and at most."""

UNREACHABLE_AFTER = 4
"""Attempts of one request after which an endpoint that never responded counts as unreachable."""

MAX_UNEXPLAINED = 10
"""Unexplained refusals, without a single response, after which the run stops."""

MAX_MALFORMED = 3
"""Attempts of one request that bring something else than a response; each of them may be billed.

Twice as many if the endpoint has answered others.
"""


class Dispatcher:
    """One live fetch in progress; counts in `ctx.stats`. `error` is what stopped it."""

    def __init__(self, missing: Iterator[Request], ctx: FetchContext, spool: Spool) -> None:
        self.error: Exception | None = None
        self.queue = RequestQueue(missing, ctx.responses, spool, ctx.stats)
        self._ctx, self._spool = ctx, spool
        self._settings, self._stats, self._budget = ctx.config.llm, ctx.stats, ctx.budget
        self._in_flight = 0
        self._slots = float(self._settings.max_concurrency)
        self._slots_halved_at = 0.0
        self._is_reached = False
        self._is_doubtful = False
        self._has_responses = False
        self._failures_in_row = 0
        self._unexplained = 0
        self._is_stopped = False

    async def run(self) -> None:
        """Send until nothing is left or an error stops it; requests in flight are completed."""
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        settings, ctx = self._settings, self._ctx
        self._rate_limiter = RateLimiter(settings.max_rpm, settings.max_tpm, self._loop.time())
        self._client = EndpointClient(
            ctx.base_url,
            ctx.key,
            settings.timeout,
            on_headers=lambda headers: self._rate_limiter.update(headers, self._loop.time()),
            run=ctx.run,
        )
        self._writer = ResponseWriter(ctx.responses, self._spool)
        self._refill_task: asyncio.Task[None] | None = None
        try:
            async with asyncio.TaskGroup() as sending:
                while queued := await self._next_request():
                    self._rate_limiter.take(queued.max_tokens, self._loop.time())
                    self._budget.reserve(queued.max_cost)
                    self._in_flight += 1
                    sending.create_task(self._send(queued))
        finally:
            if self._refill_task:
                await self._refill_task
            await self._writer.close()
            await self._client.close()

    @property
    def in_flight(self) -> int:
        """The number of requests without a stored response."""
        return self._in_flight

    def drain(self) -> None:
        """Send nothing more. Call it in the event loop."""
        self._is_stopped = True
        self._changed.set()

    # -- the next request ----------------------------------------------------------------------

    async def _next_request(self) -> QueuedRequest | None:
        while not self._is_stopped:
            now = self._loop.time()
            if self._writer.error:
                self._stop(self._writer.error)
                break
            if self._refill_task is None and self.queue.needs_refill(now):
                self._refill_task = asyncio.create_task(self._refill_queue(now))
            wait_until = None
            if self._in_flight < int(self._slots) and self._may_send():
                queued = self._pop(now)
                if queued is None:
                    if self.queue.is_empty and not (self._in_flight or self._refill_task):
                        return None
                    wait_until = self.queue.next_due
                elif not self._budget.allows(queued.max_cost):
                    self.queue.put_back(queued)
                    if not self._in_flight:
                        message = self._budget.exceeded_message(self._ctx.stage, queued.max_cost)
                        self._stop(BudgetExceeded(message))
                        break
                elif delay := self._rate_limiter.delay(queued.max_tokens, now):
                    self.queue.put_back(queued)
                    wait_until = now + delay
                else:
                    return queued
            await self._wait_for_change(wait_until)
        return None

    def _may_send(self) -> bool:
        check = self._ctx.check
        return check is None or check.may_send(self._in_flight)

    def _pop(self, now: float) -> QueuedRequest | None:
        """The next request, with its maximum tokens and cost filled in."""
        is_api = self._is_reached and (self._has_responses or not self._is_doubtful)
        max_retries = 8 * self._settings.max_concurrency if is_api else 1
        queued = self.queue.pop(now, max_retries)
        if queued and not queued.max_tokens:
            usage = max_usage(queued.request.body)
            queued.max_tokens = usage.prompt + usage.completion
            queued.max_cost = cost(self._ctx.price(queued.request), usage)
        return queued

    async def _wait_for_change(self, until: float | None) -> None:
        timeout = None if until is None else max(0.001, until - self._loop.time())
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._changed.wait()

    async def _refill_queue(self, now: float) -> None:
        try:
            await self.queue.refill(now)
        except Exception as error:
            self._stop(error)
        finally:
            self._refill_task = None
            self._changed.set()

    # -- one request ---------------------------------------------------------------------------

    async def _send(self, queued: QueuedRequest) -> None:
        self._stats.sent += not queued.attempts
        queued.attempts += 1
        try:
            outcome = await self._client.send(queued.request)
            if isinstance(outcome, Success):
                await self._store_response(queued, outcome.response, outcome.usage)
                self._stats.bought += 1
                self._has_responses = self._is_reached = True
                self._failures_in_row = 0
                most = float(self._settings.max_concurrency)
                self._slots = min(self._slots + 1 / self._slots, most)
                self._check_answer(queued.request, outcome.response)
            else:
                if outcome.usage:
                    await self._store_response(queued, "", outcome.usage)
                self._handle_failure(queued, outcome)
        except Exception as error:
            self._stop(error)
        finally:
            self._budget.release(queued.max_cost)
            self._in_flight -= 1
            self._changed.set()

    async def _store_response(self, queued: QueuedRequest, response: str, usage: Usage) -> None:
        request, ctx = queued.request, self._ctx
        usd = cost(ctx.price(request), usage)
        self._budget.bill(usd, queued.max_cost)
        self._stats.bill(usage, usd)
        await self._writer.write_response(
            make_response(request, response, usage, usd, run=ctx.run, stage=ctx.stage)
        )

    def _handle_failure(self, queued: QueuedRequest, failure: Failure) -> None:
        self._is_reached |= not failure.unreachable
        if failure.kind == "terminal":
            self._stop(EndpointError(failure.reason))
        elif failure.kind == "request":
            self._record_failure(queued, failure.reason)
            self._unexplained += not failure.explained
            if self._unexplained >= MAX_UNEXPLAINED and not self._has_responses:
                self._stop(
                    self._endpoint_error(f"refused the first {MAX_UNEXPLAINED} requests", failure)
                )
        else:
            self._retry(queued, failure)

    def _retry(self, queued: QueuedRequest, failure: Failure) -> None:
        """Queue the next attempt with exponential back-off, or record that there is none left."""
        settings = self._settings
        self._failures_in_row += 1
        if failure.status == 429:
            self._halve_slots()
        if failure.malformed:
            queued.malformed += 1
            self._is_doubtful = True
            self._slots = self._slots if self._has_responses else 1.0
        if not self._is_reached and queued.attempts >= min(
            UNREACHABLE_AFTER, settings.max_attempts
        ):
            self._stop(
                EndpointError(
                    f"{self._client.url} cannot be reached. Start that server, or set another "
                    "address in llm.base_url or OPENAI_BASE_URL"
                )
            )
        elif self._failures_in_row >= settings.max_attempts * max(8, settings.max_concurrency):
            self._stop(
                self._endpoint_error(f"failed {self._failures_in_row} times in a row", failure)
            )
        elif queued.malformed >= MAX_MALFORMED and not self._has_responses:
            self._stop(
                self._endpoint_error(
                    f"answered {MAX_MALFORMED} attempts of a request with something else than a "
                    "response",
                    failure,
                )
            )
        elif queued.attempts >= settings.max_attempts or queued.malformed >= 2 * MAX_MALFORMED:
            attempts = f"{queued.attempts} attempt{'s' * (queued.attempts > 1)}"
            self._record_failure(queued, f"{failure.reason} ({attempts})")
        else:
            backoff = min(INITIAL_DELAY * 2 ** (queued.attempts - 1), MAX_DELAY)
            delay = max(backoff * random.uniform(0.5, 1.5), failure.retry_after)
            self.queue.retry(queued, self._loop.time() + delay)

    def _check_answer(self, request: Request, response: str) -> None:
        if self._ctx.check is not None:
            self._ctx.check.count_answer(request, response)
            self._drain_if_due()

    def _record_failure(self, queued: QueuedRequest, reason: str) -> None:
        self._stats.failures[queued.request.key] = reason
        if self._ctx.check is not None:
            self._ctx.check.count_failure()
            self._drain_if_due()

    def _drain_if_due(self) -> None:
        """Send nothing more if too many answers so far cannot be used."""
        if self._ctx.check_is_due:
            self.drain()

    def _halve_slots(self) -> None:
        """Halve the slots, at most once a second: one burst of 429 is one signal."""
        now = self._loop.time()
        if now - self._slots_halved_at >= 1:
            self._slots = max(1.0, self._slots / 2)
            self._slots_halved_at = now

    def _endpoint_error(self, problem: str, failure: Failure) -> EndpointError:
        return EndpointError(
            f"{self._client.url} {problem}, most recently: {failure.reason}. All responses so far "
            "are stored; fix the cause and run again to continue"
        )

    def _stop(self, error: Exception) -> None:
        self.error = self.error or error
        self.drain()
