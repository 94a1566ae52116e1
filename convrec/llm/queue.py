"""The queue: which request goes next.

Fresh requests are drawn from a stream a chunk at a time and claimed, so that two runs share the
work and memory stays flat. Retries wait for their time in a heap while fresh requests go on. What
another process is asking for is looked at again now and then.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from convrec.llm.progress import FetchStats
from convrec.llm.requests import Request
from convrec.llm.response_store import ResponseStore
from convrec.llm.spool import Spool

CHUNK_SIZE = 512
"""Requests claimed at once."""

POLL_INTERVAL = 0.5
"""Seconds between looks at answers that another process is buying."""


@dataclass(order=True)
class QueuedRequest:
    """A request on its way: when it is due, its attempts so far, and its most in tokens and US
    dollars.
    """

    due: float
    number: int
    request: Request = field(compare=False)
    attempts: int = field(default=0, compare=False)
    tokens: float = field(default=0.0, compare=False)
    bound: float = field(default=0.0, compare=False)


class RequestQueue:
    """Requests without an end yet; `batched` are those that an open batch will answer."""

    def __init__(
        self, stream: Iterator[Request], answers: ResponseStore, spool: Spool, tally: FetchStats
    ) -> None:
        self.batched: list[Request] = []
        self._stream = stream
        self._answers, self._spool, self._tally = answers, spool, tally
        self._drawn = 0
        self._dry = False
        self._fresh: deque[QueuedRequest] = deque()
        self._elsewhere: deque[QueuedRequest] = deque()
        self._retries: list[QueuedRequest] = []
        self._poll_at = 0.0

    def next(self, now: float, room: int) -> QueuedRequest | None:
        """The next request that may go; no fresh one while `room` retries or more are waiting."""
        if self._retries and self._retries[0].due <= now:
            return heapq.heappop(self._retries)
        crowded = len(self._retries) >= room
        return self._fresh.popleft() if self._fresh and not crowded else None

    def put_back(self, work: QueuedRequest) -> None:
        """Take back what `next` gave, as the first to go."""
        self._fresh.appendleft(work)

    def retry(self, work: QueuedRequest, due: float) -> None:
        """Give a request another turn at `due`."""
        work.due = due
        heapq.heappush(self._retries, work)

    @property
    def due(self) -> float | None:
        """When something falls due by itself; None if nothing does."""
        due = [self._retries[0].due] if self._retries else []
        due += [self._poll_at] if self._elsewhere else []
        return min(due) if due else None

    @property
    def empty(self) -> bool:
        """Whether every request has been handed out."""
        return self._dry and not (self._fresh or self._retries or self._elsewhere)

    def low(self, now: float) -> bool:
        """Whether `refill` would find something to claim, and it is time to."""
        if len(self._fresh) > CHUNK_SIZE // 2:
            return False
        return not self._dry or (bool(self._elsewhere) and now >= self._poll_at)

    async def refill(self, now: float) -> None:
        """Claim the next chunk, leaving out what is answered and what others are asking for."""
        self._poll_at = now + POLL_INTERVAL
        chunk = self._polled() if self._dry else await asyncio.to_thread(self._draw)
        if not chunk:
            return
        by_key = {work.request.key: work for work in chunk}
        await asyncio.to_thread(self._answers.recover)
        claim = await asyncio.to_thread(self._spool.claim, list(by_key), self._answers.standing)
        self._tally.found += len(claim.stored)
        self.batched += [by_key[key].request for key in claim.batched]
        self._fresh.extend(by_key[key] for key in claim.mine)
        self._elsewhere.extend(by_key[key] for key in claim.elsewhere)

    def _draw(self) -> list[QueuedRequest]:
        requests = list(islice(self._stream, CHUNK_SIZE))
        self._dry = len(requests) < CHUNK_SIZE
        first, self._drawn = self._drawn, self._drawn + len(requests)
        return [
            QueuedRequest(0.0, number, request) for number, request in enumerate(requests, first)
        ]

    def _polled(self) -> list[QueuedRequest]:
        return [self._elsewhere.popleft() for _ in range(min(CHUNK_SIZE, len(self._elsewhere)))]
