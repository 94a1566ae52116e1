"""The queue of requests to send.

New requests are read from an iterator in chunks and claimed, so that several processes share the
work and memory stays bounded. Retries wait in a heap until they are due. Requests that another
process has claimed are polled.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from convrec.llm.fetch_context import FetchStats
from convrec.llm.requests import Request
from convrec.llm.response_store import ResponseStore
from convrec.llm.spool import Spool

CHUNK_SIZE = 512
"""Requests claimed at once."""

POLL_INTERVAL = 0.5
"""Seconds between lookups of responses that another process is buying."""


@dataclass(order=True)
class QueuedRequest:
    """A request in the queue: when it is due, its attempts so far, and its maximum cost in USD.

    `malformed` of the attempts brought something else than a response.
    """

    due: float
    number: int
    request: Request = field(compare=False)
    attempts: int = field(default=0, compare=False)
    malformed: int = field(default=0, compare=False)
    max_tokens: float = field(default=0.0, compare=False)
    max_cost: float = field(default=0.0, compare=False)


class RequestQueue:
    """Requests without a response; `batched` collects those that an open batch will answer."""

    def __init__(
        self,
        requests: Iterator[Request],
        responses: ResponseStore,
        spool: Spool,
        stats: FetchStats,
    ) -> None:
        self.batched: list[Request] = []
        self._requests = (QueuedRequest(0.0, n, each) for n, each in enumerate(requests))
        self._responses, self._spool, self._stats = responses, spool, stats
        self._is_exhausted = False
        self._new: deque[QueuedRequest] = deque()
        self._elsewhere: deque[QueuedRequest] = deque()
        self._retries: list[QueuedRequest] = []
        self._poll_at = 0.0

    def pop(self, now: float, max_retries: int) -> QueuedRequest | None:
        """The next request that is due; no new one while `max_retries` or more are waiting."""
        if self._retries and self._retries[0].due <= now:
            return heapq.heappop(self._retries)
        is_full = len(self._retries) >= max_retries
        return self._new.popleft() if self._new and not is_full else None

    def put_back(self, queued: QueuedRequest) -> None:
        """Return what `pop` gave; it is the next to go."""
        self._new.appendleft(queued)

    def retry(self, queued: QueuedRequest, due: float) -> None:
        """Queue another attempt for `due`."""
        queued.due = due
        heapq.heappush(self._retries, queued)

    @property
    def next_due(self) -> float | None:
        """When the next retry or poll is due; None if there is none."""
        due = [self._retries[0].due] if self._retries else []
        due += [self._poll_at] if self._elsewhere else []
        return min(due) if due else None

    @property
    def is_empty(self) -> bool:
        """Whether every request has been handed out."""
        return self._is_exhausted and not (self._new or self._retries or self._elsewhere)

    def needs_refill(self, now: float) -> bool:
        """Whether it is time to call `refill`."""
        if len(self._new) > CHUNK_SIZE // 2:
            return False
        return not self._is_exhausted or (bool(self._elsewhere) and now >= self._poll_at)

    async def refill(self, now: float) -> None:
        """Claim the next chunk: requests that have no response and that no process has claimed."""
        self._poll_at = now + POLL_INTERVAL
        if self._is_exhausted:
            count = min(CHUNK_SIZE, len(self._elsewhere))
            chunk = [self._elsewhere.popleft() for _ in range(count)]
        else:
            chunk = await asyncio.to_thread(lambda: list(islice(self._requests, CHUNK_SIZE)))
            self._is_exhausted = len(chunk) < CHUNK_SIZE
        if not chunk:
            return
        by_key = {queued.request.key: queued for queued in chunk}
        await asyncio.to_thread(self._responses.recover)
        claim = await asyncio.to_thread(self._spool.claim, list(by_key), self._responses.key_status)
        self._stats.found += len(claim.stored)
        self.batched += [by_key[key].request for key in claim.batched]
        self._new.extend(by_key[key] for key in claim.granted)
        self._elsewhere.extend(by_key[key] for key in claim.elsewhere)
