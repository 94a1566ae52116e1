"""Keeping answers while more arrive: group fsync to the spool, group commit to the warehouse."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from convrec.llm.response import Response
from convrec.llm.response_store import ResponseStore
from convrec.llm.spool import Spool

COMMIT_SIZE = 500
"""Answers in one commit to the warehouse."""

COMMIT_INTERVAL = 2.0
"""Seconds after which fewer are committed too."""


class ResponseWriter:
    """Makes answers durable. `error` is why no more should be sent, if anything went wrong."""

    def __init__(self, answers: ResponseStore, spool: Spool) -> None:
        self.error: Exception | None = None
        self._answers = answers
        self._spool = spool
        self._arrived: list[tuple[Response, asyncio.Future[None]]] = []
        self._uncommitted: list[Response] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._commit: asyncio.Task[None] | None = None
        self._committed_at = asyncio.get_running_loop().time()
        self._task = asyncio.create_task(self._run())

    async def keep(self, answer: Response) -> None:
        """Return once the answer is fsynced; all that wait at one moment share the fsync."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arrived.append((answer, future))
        self._wake.set()
        await future

    async def close(self) -> None:
        """Commit everything that was kept. Raises what stood in the way of a commit."""
        self._closing = True
        self._wake.set()
        await self._task
        await self._start_commit()
        if self._commit:
            await self._commit
        if self.error:
            raise self.error

    async def _run(self) -> None:
        while self._arrived or not self._closing:
            if not self._arrived:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(COMMIT_INTERVAL):
                        await self._wake.wait()
                self._wake.clear()
            await self._sync()
            late = asyncio.get_running_loop().time() - self._committed_at > COMMIT_INTERVAL
            if len(self._uncommitted) >= COMMIT_SIZE or (self._uncommitted and late):
                await self._start_commit()

    async def _sync(self) -> None:
        arrived, self._arrived = self._arrived, []
        if not arrived:
            return
        answers = [answer for answer, _ in arrived]
        try:
            await asyncio.to_thread(self._spool.append, answers)
        except Exception as error:  # whoever waits must hear of it, or waits for ever
            for _, future in arrived:
                if not future.cancelled():
                    future.set_exception(error)
            return
        self.error = self.error or self._spool.full
        self._uncommitted += answers
        for _, future in arrived:
            if not future.cancelled():
                future.set_result(None)

    async def _start_commit(self) -> None:
        """Hand the sealed segment to a commit beside the next answers; one at a time."""
        if self._commit:
            await self._commit
        segment, group = self._spool.seal(), self._uncommitted
        self._uncommitted = []
        self._committed_at = asyncio.get_running_loop().time()
        if segment:
            self._commit = asyncio.create_task(self._commit_group(segment, group))

    async def _commit_group(self, segment: Path, group: list[Response]) -> None:
        try:
            await asyncio.to_thread(self._commit_now, segment, group)
        except Exception as error:
            self.error = error

    def _commit_now(self, segment: Path, group: list[Response]) -> None:
        self._answers.add(group)
        segment.unlink()
        # What was billed and is no answer will be asked for again, by us.
        self._spool.release([answer.key for answer in group if answer.response])
