"""The courier: sends what is missing, a bounded number at once, until every request has an end.

An end is an answer kept on disk, a recorded failure, or another process's answer. A slot is busy
from the call until its answer is fsynced, so a `kill -9` loses at most `llm.max_concurrency`
answers. The number of slots follows the endpoint: halved when it says 429, one more after a round
of successes. Retries wait for their time in a heap while fresh requests go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import json
import random
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from convrec.config import Llm, Price
from convrec.errors import BudgetExceeded, ConvrecError, EndpointError
from convrec.llm.answers import AnswerStore
from convrec.llm.calls import Answered, Caller, Failure
from convrec.llm.estimate import upper_bound
from convrec.llm.keeper import Keeper
from convrec.llm.prices import Usage, cost
from convrec.llm.requests import Request
from convrec.llm.spool import Answer, Spool

CHUNK = 512
"""Requests claimed at once, so that two runs share the work."""

POLL = 0.5
"""Seconds between looks at answers that another process is buying."""

FIRST_DELAY, LONGEST_DELAY = 0.25, 30.0
"""Seconds of back-off after the first failed attempt, and at most."""

UNREACHABLE_AFTER = 4
"""Attempts of one request after which an endpoint that never answered counts as unreachable."""

UNEXPLAINED = 10
"""Refusals without a known reason, and no answer at all, after which the run stops."""


@dataclass(order=True)
class _Work:
    due: float
    number: int
    request: Request
    attempts: int = 0


class Courier:
    """One fetch in progress. The public attributes may be read from another thread."""

    def __init__(
        self,
        missing: Sequence[Request],
        *,
        settings: Llm,
        prices: Mapping[str, Price],
        answers: AnswerStore,
        spool: Spool,
        stage: str,
        run: str,
        spent_usd: float = 0.0,
    ) -> None:
        self.answered = 0
        self.found = 0
        self.failures: dict[str, str] = {}
        self.usage = Usage(0, 0, 0)
        self.usd = 0.0
        self.error: Exception | None = None
        self._settings, self._prices = settings, prices
        self._answers, self._spool = answers, spool
        self._stage, self._run, self._spent_before = stage, run, spent_usd
        self._unclaimed = deque(_Work(0.0, n, request) for n, request in enumerate(missing))
        self._elsewhere: deque[_Work] = deque()
        self._fresh: deque[_Work] = deque()
        self._retries: list[_Work] = []
        self._sent: set[str] = set()
        self._in_flight = 0
        self._reserved = 0.0
        self._underrated = 1.0
        self._slots = float(settings.max_concurrency)
        self._narrowed_at = 0.0
        self._reached = False
        self._streak = 0
        self._unexplained = 0
        self._stopped = False
        self._poll_at = 0.0

    @property
    def sent(self) -> int:
        """Distinct requests sent at least once."""
        return len(self._sent)

    @property
    def done(self) -> int:
        """Requests that came to an end, one way or another."""
        return self.answered + self.found + len(self.failures)

    async def deliver(self, base_url: str, key: str) -> None:
        """Send until nothing is left or something stops us; what is in flight is always kept."""
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._caller = Caller(base_url, key, self._settings.timeout)
        self._keeper = Keeper(self._answers, self._spool)
        try:
            async with asyncio.TaskGroup() as calls:
                while work := await self._next():
                    bound = upper_bound(work.request.body, self._price(work.request))
                    self._reserved += bound
                    self._in_flight += 1
                    calls.create_task(self._send(work, bound))
        finally:
            await self._keeper.close()
            await self._caller.close()

    def drain(self) -> None:
        """Send nothing more. To be called in the event loop."""
        self._stopped = True
        self._changed.set()

    # -- what to send next ---------------------------------------------------------------------

    async def _next(self) -> _Work | None:
        while not self._stopped:
            too_dear = False
            if self._keeper.error:
                self._stop(self._keeper.error)
            elif self._in_flight < int(self._slots):
                work = self._ready()
                if work and self._affordable(work):
                    return work
                if work:
                    heapq.heappush(self._retries, work)
                    too_dear = True
                    if not self._in_flight:
                        self._stop(self._broke(work))
                elif self._to_claim():
                    await self._claim_safely()
                    continue
                elif not (self._in_flight or self._retries or self._elsewhere):
                    return None
            if not self._stopped:
                await self._pause(for_a_call=too_dear or self._in_flight >= int(self._slots))
        return None

    def _ready(self) -> _Work | None:
        now = self._loop.time()
        if self._retries and self._retries[0].due <= now:
            return heapq.heappop(self._retries)
        room = 8 * self._settings.max_concurrency if self._reached else 1
        crowded = len(self._retries) >= room
        return self._fresh.popleft() if self._fresh and not crowded else None

    async def _pause(self, *, for_a_call: bool) -> None:
        """Wait for a call to end, or else for the moment when something falls due."""
        due = [self._retries[0].due] if self._retries else []
        due += [self._poll_at] if self._elsewhere else []
        wait = max(0.001, min(due) - self._loop.time()) if due and not for_a_call else None
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._changed.wait()

    def _to_claim(self) -> bool:
        if self._fresh:
            return False
        return bool(self._unclaimed) or bool(self._elsewhere and self._loop.time() >= self._poll_at)

    async def _claim_safely(self) -> None:
        """Claim; a warehouse that fails meanwhile stops us, and what is in flight is kept."""
        try:
            await self._claim()
        except ConvrecError as error:
            self._stop(error)

    async def _claim(self) -> None:
        """Claim the next chunk, leaving out what is answered and what another process sends."""
        queue = self._unclaimed or self._elsewhere
        chunk = [queue.popleft() for _ in range(min(CHUNK, len(queue)))]
        by_key = {work.request.key: work for work in chunk}
        await asyncio.to_thread(self._answers.recover)
        claim = await asyncio.to_thread(
            self._spool.claim, list(by_key), lambda keys: self._answers.digests(keys).keys()
        )
        self.found += len(claim.stored)
        self._fresh.extend(by_key[key] for key in claim.mine)
        self._elsewhere.extend(by_key[key] for key in claim.elsewhere)
        self._poll_at = self._loop.time() + POLL

    # -- money ---------------------------------------------------------------------------------

    def _price(self, request: Request) -> Price:
        return self._prices[str(request.body.get("model"))]

    def _affordable(self, work: _Work) -> bool:
        """Whether all that is in flight and this call stay below the limit at their dearest."""
        limit = self._settings.max_usd
        if limit is None:
            return True
        bound = upper_bound(work.request.body, self._price(work.request))
        dearest = (self._reserved + bound) * self._underrated
        return self._spent_before + self.usd + dearest <= limit

    def _broke(self, work: _Work) -> BudgetExceeded:
        spent = self._spent_before + self.usd
        bound = upper_bound(work.request.body, self._price(work.request)) * self._underrated
        return BudgetExceeded(
            f"the next call of {self._stage} could cross llm.max_usd={self._settings.max_usd:g}: "
            f"${spent:.6f} spent, and it may cost ${bound:.6f}; everything paid for is kept, so "
            "raise llm.max_usd and run again to go on from here"
        )

    # -- one call ------------------------------------------------------------------------------

    async def _send(self, work: _Work, bound: float) -> None:
        work.attempts += 1
        self._sent.add(work.request.key)
        try:
            outcome = await self._caller.call(work.request.body)
            if isinstance(outcome, Answered):
                await self._keep(work.request, outcome.response, outcome.usage, bound)
                self._succeeded()
            else:
                if outcome.usage:
                    await self._keep(work.request, "", outcome.usage, bound)
                self._failed(work, outcome)
        except Exception as error:
            self._stop(error)
        finally:
            self._reserved -= bound
            self._in_flight -= 1
            self._changed.set()

    async def _keep(self, request: Request, response: str, usage: Usage, bound: float) -> None:
        usd = cost(self._price(request), usage)
        if bound:  # an endpoint whose tokens are shorter than we thought
            self._underrated = max(self._underrated, usd / bound)
        answer = Answer(
            key=request.key,
            endpoint=request.endpoint,
            model=str(request.body.get("model")),
            body=json.dumps(dict(request.body), ensure_ascii=False),
            response=response,
            origin="live",
            created_at=datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds"),
            run=self._run,
            stage=self._stage,
            prompt_tokens=usage.prompt,
            cached_tokens=usage.cached,
            completion_tokens=usage.completion,
            usd=usd,
        )
        self.usd += usd
        self.usage = self.usage + usage
        await self._keeper.keep(answer)

    def _succeeded(self) -> None:
        self.answered += 1
        self._reached = True
        self._streak = 0
        self._slots = min(self._slots + 1 / self._slots, float(self._settings.max_concurrency))

    def _failed(self, work: _Work, failure: Failure) -> None:
        self._reached |= not failure.unreachable
        if failure.kind == "terminal":
            self._stop(EndpointError(failure.reason))
        elif failure.kind == "request":
            self.failures[work.request.key] = failure.reason
            self._unexplained += not failure.explained
            if self._unexplained >= UNEXPLAINED and not self.answered:
                self._stop(self._given_up(f"refused the first {UNEXPLAINED} requests", failure))
        else:
            self._again(work, failure)

    def _again(self, work: _Work, failure: Failure) -> None:
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
            self.failures[work.request.key] = f"{failure.reason} ({attempts})"
        else:
            backoff = min(FIRST_DELAY * 2 ** (work.attempts - 1), LONGEST_DELAY)
            delay = max(backoff * random.uniform(0.5, 1.5), failure.retry_after)
            work.due = self._loop.time() + delay
            heapq.heappush(self._retries, work)

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
