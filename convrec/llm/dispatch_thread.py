"""Delivery: the courier's event loop in a thread of its own; the caller may have one, or none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

from convrec.llm.context import FetchContext
from convrec.llm.dispatcher import Dispatcher
from convrec.llm.progress import FetchStats
from convrec.llm.requests import Request

PROGRESS_INTERVAL = 0.2
"""Seconds between two reports of progress."""


def dispatch(missing: Iterator[Request], errand: FetchContext) -> list[Request]:
    """Send requests live until each has an end; those that an open batch will answer are returned.

    Raises what stopped the courier; an interruption drains what is in flight first.
    """
    with errand.answers.open_spool() as spool:
        courier = Dispatcher(missing, errand, spool)
        _DispatchThread(courier).wait(errand.tally)
    if courier.error:
        raise courier.error
    return courier.queue.batched


class _DispatchThread(threading.Thread):
    """Waited for by an event of its own: a `join` that Ctrl-C interrupts believes, in CPython 3.11,
    that the thread has ended.
    """

    def __init__(self, courier: Dispatcher) -> None:
        super().__init__(name="convrec-llm", daemon=True)
        self._courier = courier
        self._error: BaseException | None = None
        self._ready = threading.Event()
        self._ended = threading.Event()

    def run(self) -> None:
        """Deliver, and keep for the caller what went wrong."""
        try:
            asyncio.run(self._deliver())
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()
            self._ended.set()

    async def _deliver(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._courier.deliver())
        await asyncio.sleep(0)
        self._ready.set()
        await self._task

    def wait(self, tally: FetchStats) -> None:
        """Start, report until the end, and raise what went wrong; drain when interrupted."""
        self.start()
        try:
            while not self._ended.wait(PROGRESS_INTERVAL):
                tally.show()
        except BaseException:
            tally.note = "stopping: what is in flight is kept, nothing more is sent"
            self._drain()
            raise
        if self._error:
            raise self._error

    def _drain(self) -> None:
        self._ready.wait()
        try:
            self._call(self._courier.drain)
            self._ended.wait()
        except BaseException:
            self._call(self._task.cancel)
            self._ended.wait(10)
            raise

    def _call(self, what: Callable[[], object]) -> None:
        if not self._ended.is_set() and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(what)
