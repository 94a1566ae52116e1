"""Run the dispatcher's event loop in its own thread, whether or not the caller has a loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

from convrec.llm.dispatcher import Dispatcher
from convrec.llm.fetch_context import FetchContext, FetchStats
from convrec.llm.requests import Request

PROGRESS_INTERVAL = 0.2
"""Seconds between progress reports."""

COMMIT_SECONDS = 10.0
"""Seconds to store what has arrived after the requests in flight were given up."""


def dispatch(missing: Iterator[Request], ctx: FetchContext) -> list[Request]:
    """Send requests one by one until each has a response or a failure.

    Returns the requests that an open batch will answer. An interruption waits up to
    `llm.drain_seconds` for the requests in flight and is raised again; a note on it says how many
    were given up. Raises the error that stopped the dispatcher.
    """
    with ctx.responses.open_spool() as spool:
        dispatcher = Dispatcher(missing, ctx, spool)
        thread = _DispatchThread(dispatcher, ctx.config.llm.drain_seconds)
        thread.run_until_done(ctx.stats)
    if dispatcher.error:
        raise dispatcher.error
    return dispatcher.queue.batched


def stop_sending() -> None:
    """Send no more requests in this process; those in flight go on. For any thread.

    An interruption of the main thread does the same, but may be late or lost inside a library.
    """
    for thread in list(_active):
        thread.stop_sending()


class _DispatchThread(threading.Thread):
    """Signals its end through an event, not `join`.

    In CPython 3.11 a `join` that is interrupted by Ctrl-C takes the thread for finished.
    """

    def __init__(self, dispatcher: Dispatcher, drain_seconds: float) -> None:
        super().__init__(name="convrec-llm", daemon=True)
        self._dispatcher = dispatcher
        self._drain_seconds = drain_seconds
        self._error: BaseException | None = None
        self._ready = threading.Event()
        self._ended = threading.Event()

    def run(self) -> None:
        """Dispatch; an error is kept for the waiting thread."""
        try:
            asyncio.run(self._dispatch())
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()
            self._ended.set()

    async def _dispatch(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._dispatcher.run())
        await asyncio.sleep(0)
        self._ready.set()
        await self._task

    def run_until_done(self, stats: FetchStats) -> None:
        """Start and report progress until the end. Drains when interrupted; raises errors."""
        self.start()
        _active.add(self)
        try:
            while not self._ended.wait(PROGRESS_INTERVAL):
                stats.report()
        except BaseException as interruption:
            stats.activity = "stopping: waiting for the requests in flight"
            self._drain(interruption)
            raise
        finally:
            _active.discard(self)
        if self._error:
            raise self._error

    def stop_sending(self) -> None:
        """Send no more requests."""
        if self._ready.is_set():
            self._call_in_loop(self._dispatcher.drain)

    def _drain(self, interruption: BaseException) -> None:
        """Send nothing more, and wait for the requests in flight as long as the settings allow."""
        self._ready.wait()
        try:
            self._call_in_loop(self._dispatcher.drain)
            if self._ended.wait(self._drain_seconds):
                return
            if given_up := self._dispatcher.in_flight:
                interruption.add_note(
                    f"{given_up} request{'s' * (given_up > 1)} had no response "
                    f"{self._drain_seconds:g} s later and {'were' if given_up > 1 else 'was'} "
                    "given up; they may be billed, and the next run sends them again "
                    "(llm.drain_seconds waits longer)"
                )
            self._cancel()
        except BaseException:
            self._cancel()
            raise

    def _cancel(self) -> None:
        """Give up the requests in flight; responses that arrived are stored."""
        self._call_in_loop(self._task.cancel)
        self._ended.wait(COMMIT_SECONDS)

    def _call_in_loop(self, function: Callable[[], object]) -> None:
        if not self._ended.is_set() and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function)


_active: set[_DispatchThread] = set()
"""The threads that send requests."""
