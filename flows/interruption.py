"""Ends a run within seconds of Ctrl-C or SIGTERM, whatever it is doing.

The first signal interrupts the main thread, which stores what has arrived, ends the child processes
and marks the flow run as cancelled. A second thread watches the time: if the main thread has not
ended GRACE seconds later (a library may ignore the interruption), or at a second Ctrl-C, it does
the same and ends the process. What is on disk survives that, as it survives `kill -9`.
"""

from __future__ import annotations

import os
import select
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

INTERRUPTED = 130
"""Exit code after Ctrl-C and SIGTERM."""

GRACE = 4.0
"""Seconds that the main thread has after a signal, if `llm.drain_seconds` is DRAIN or less."""

DRAIN = 3.0
CANCEL_SECONDS = 0.6
"""Seconds in which the Prefect server must confirm that the run is cancelled, after GRACE."""

LAST_SECONDS = 0.5
"""Seconds that a main thread has to end after `finish`."""

SHOW_CURSOR = "\x1b[?25h"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Reacts to signals from `start` to `stop`; `finish` ends an interrupted run.

    Attributes:
        on_signal: Called at the first signal, in another thread than the main one.
        cancel: Marks the flow run as cancelled; set once there is a flow run.
        keep: Process ids of children that end last, by themselves.
    """

    def __init__(self, drain_seconds: float = DRAIN) -> None:
        self.on_signal: Callable[[], None] = lambda: None
        self.cancel: Callable[[], None] | None = None
        self.keep: set[int] = set()
        self._grace = GRACE + max(0.0, drain_seconds - DRAIN)
        self._deadline = float("inf")
        self._is_shielded = self._is_cancelled = self._is_finished = False
        self._notes: list[str] = []

    @property
    def requested(self) -> bool:
        """Whether a signal has arrived."""
        return self._deadline < float("inf")

    @property
    def remaining(self) -> float:
        """Seconds until the process ends by force."""
        return self._deadline - time.monotonic()

    def start(self) -> None:
        """Listen to signals. Call it in the main thread."""
        reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._handlers = {
            number: signal.signal(number, self._interrupt)
            for number in SIGNALS
            if signal.getsignal(number) is not signal.SIG_IGN  # as under nohup
        }
        # The C handler writes there, so also while the main thread is not running Python code.
        self._earlier_fd = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=[reading], daemon=True).start()

    def stop(self) -> None:
        """Listen no more, unless a signal has arrived."""
        if self.requested:
            return
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._earlier_fd)
        os.close(self._writing)

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal has arrived. Call it in the main thread."""
        if self.requested:
            raise KeyboardInterrupt

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """A short block that a signal interrupts only at its end."""
        self._is_shielded = True
        try:
            yield
        finally:
            self._is_shielded = False
        self.check()

    def finish(self, error: BaseException) -> SystemExit:
        """End the child processes and cancel the flow run. Returns what to raise, with notes."""
        self._notes += getattr(error, "__notes__", [])
        end_descendants(self.keep)
        self._mark_cancelled(max(CANCEL_SECONDS, self.remaining))
        self._is_finished = True
        ended = SystemExit(INTERRUPTED)
        for note in self._notes:
            ended.add_note(note)
        return ended

    def exit(self) -> None:
        """End this process, without the teardown of modules, which takes time and may hang."""
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(INTERRUPTED)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._note_signal()
        if not self._is_shielded:
            raise KeyboardInterrupt

    def _note_signal(self) -> None:
        if not self.requested:
            self._deadline = time.monotonic() + self._grace

    def _watch(self, reading: int) -> None:
        """End this process by force at the end of its time, and at a second Ctrl-C."""
        is_announced = False
        while True:
            timeout = max(0.0, self.remaining) if self.requested else None
            if not select.select([reading], [], [], timeout)[0]:
                self._end_by_force()
            numbers = os.read(reading, 64)
            if not numbers:  # closed by `stop`
                os.close(reading)
                return
            if not set(numbers) & set(SIGNALS):
                continue
            # Prefect sends a SIGTERM to its own process again, so that one does not count twice.
            if is_announced and signal.SIGINT in numbers:
                self._end_by_force()
            self._note_signal()
            if not is_announced:
                is_announced = True
                print(
                    f"convrec: stopping within {self._grace + 1:.0f} s; Ctrl-C again does not wait",
                    file=sys.stderr,
                    flush=True,
                )
                with suppress(Exception):
                    self.on_signal()

    def _end_by_force(self) -> None:
        try:
            if not self._is_finished:
                end_descendants(self.keep, seconds=0.2)
                self._mark_cancelled(CANCEL_SECONDS)
                cursor = SHOW_CURSOR if sys.stderr.isatty() else ""
                print(cursor + resume_hint(self._notes), file=sys.stderr, flush=True)
            else:  # the main thread is about to say so and to end
                time.sleep(LAST_SECONDS)
        finally:
            self.exit()

    def _mark_cancelled(self, seconds: float) -> None:
        """Mark the flow run as cancelled, if the server confirms it in time."""
        if self.cancel is None or self._is_cancelled:
            return
        thread = threading.Thread(target=self._call, args=[self.cancel], daemon=True)
        thread.start()
        thread.join(seconds)
        if not self._is_cancelled:
            self._notes.append("the Prefect server did not confirm that the run is cancelled")

    def _call(self, cancel: Callable[[], None]) -> None:
        with suppress(Exception):
            cancel()
            self._is_cancelled = True


def end_descendants(keep: set[int], seconds: float = 0.5) -> None:
    """End the child processes and theirs, except those in `keep`: SIGTERM, later SIGKILL."""
    import psutil

    children = [
        child for child in psutil.Process().children(recursive=True) if child.pid not in keep
    ]
    for child in children:
        with suppress(psutil.Error):
            child.terminate()
    _, alive = psutil.wait_procs(children, timeout=seconds)
    for child in alive:
        with suppress(psutil.Error):
            child.kill()


def resume_hint(notes: list[str]) -> str:
    """What a user reads at the end of an interrupted command."""
    added = "".join(f"; {note}" for note in notes)
    return (
        "convrec: interrupted; every answer that arrived is kept, and a batch that was submitted "
        f"goes on{added}. To go on from here: {shlex.join(['convrec', *sys.argv[1:]])}"
    )
