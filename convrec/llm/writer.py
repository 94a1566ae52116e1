"""Store responses while more arrive: group fsync to the spool, group commit to the warehouse."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from convrec.llm.response import Response
from convrec.llm.response_store import ResponseStore
from convrec.llm.spool import Spool

COMMIT_SIZE = 500
"""Responses in one commit to the warehouse."""

COMMIT_INTERVAL = 2.0
"""Seconds after which fewer responses are committed too."""


class ResponseWriter:
    """Makes responses durable. If `error` is set, no more requests should be sent."""

    def __init__(self, responses: ResponseStore, spool: Spool) -> None:
        self.error: Exception | None = None
        self._responses = responses
        self._spool = spool
        self._pending: list[tuple[Response, asyncio.Future[None]]] = []
        self._uncommitted: list[Response] = []
        self._wake = asyncio.Event()
        self._is_closing = False
        self._commit_task: asyncio.Task[None] | None = None
        self._committed_at = asyncio.get_running_loop().time()
        self._task = asyncio.create_task(self._run())

    async def write_response(self, response: Response) -> None:
        """Return once the response is fsynced. Concurrent calls share one fsync."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((response, future))
        self._wake.set()
        await future

    async def close(self) -> None:
        """Commit all responses. Raises the error of a failed write or commit."""
        self._is_closing = True
        self._wake.set()
        await self._task
        await self._start_commit()
        if self._commit_task:
            await self._commit_task
        if self.error:
            raise self.error

    async def _run(self) -> None:
        while self._pending or not self._is_closing:
            if not self._pending:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(COMMIT_INTERVAL):
                        await self._wake.wait()
                self._wake.clear()
            await self._sync()
            is_due = asyncio.get_running_loop().time() - self._committed_at > COMMIT_INTERVAL
            if len(self._uncommitted) >= COMMIT_SIZE or (self._uncommitted and is_due):
                await self._start_commit()

    async def _sync(self) -> None:
        pending, self._pending = self._pending, []
        if not pending:
            return
        responses = [response for response, _ in pending]
        try:
            await asyncio.to_thread(self._spool.append, responses)
        except Exception as error:  # callers of `write_response` would wait forever
            for _, future in pending:
                if not future.cancelled():
                    future.set_exception(error)
            return
        self.error = self.error or self._spool.disk_full
        self._uncommitted += responses
        for _, future in pending:
            if not future.cancelled():
                future.set_result(None)

    async def _start_commit(self) -> None:
        """Commit the sealed segment in the background; one commit at a time."""
        if self._commit_task:
            await self._commit_task
        segment, responses = self._spool.seal(), self._uncommitted
        self._uncommitted = []
        self._committed_at = asyncio.get_running_loop().time()
        if segment:
            self._commit_task = asyncio.create_task(self._commit(segment, responses))

    async def _commit(self, segment: Path, responses: list[Response]) -> None:
        try:
            await asyncio.to_thread(self._commit_segment, segment, responses)
        except Exception as error:
            self.error = error

    def _commit_segment(self, segment: Path, responses: list[Response]) -> None:
        self._responses.add(responses)
        segment.unlink()
        # A key that was billed without a response stays claimed: this process sends it again.
        self._spool.release([response.key for response in responses if response.response])
