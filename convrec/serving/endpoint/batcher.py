"""A bounded queue of requests, and the threads that answer them in batches."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from convrec.serving.endpoint.engine import ListAnswer, ListRequest

Answer = Callable[[Sequence[ListRequest]], list[ListAnswer | Exception]]


class QueueFullError(Exception):
    """As many requests wait as may wait."""


class ClosedError(Exception):
    """The server stops and takes no more requests."""


class _Job:
    def __init__(self, request: ListRequest) -> None:
        self.request = request
        self.future: Future[ListAnswer] = Future()


class Batcher:
    """Answers requests in batches of up to `size`.

    A batch starts `window` seconds after its first request, or once it is full. `threads` batches
    are answered at a time; an engine with its own model takes one. At most `waiting` requests wait.
    """

    def __init__(
        self,
        answer: Answer,
        *,
        size: int,
        window: float,
        waiting: int,
        threads: int = 1,
        on_batch: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._answer = answer
        self._size = size
        self._window = window
        self._on_batch = on_batch
        self._queue: queue.Queue[_Job | None] = queue.Queue()
        self._limit = waiting
        self._lock = threading.Lock()
        self._is_closed = False
        self._threads = [
            threading.Thread(target=self._run, name=f"lists-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, request: ListRequest) -> Future[ListAnswer]:
        """Queue a request. Raises QueueFullError or ClosedError."""
        job = _Job(request)
        with self._lock:
            if self._is_closed:
                raise ClosedError
            if self._queue.qsize() >= self._limit:
                raise QueueFullError
            self._queue.put(job)
        return job.future

    def waiting(self) -> int:
        """The number of requests that no thread has taken yet."""
        return self._queue.qsize()

    def close(self, timeout: float = 30.0) -> None:
        """Take no more requests, answer those that wait, and end the threads."""
        with self._lock:
            self._is_closed = True
            for _ in self._threads:
                self._queue.put(None)
        for thread in self._threads:
            thread.join(timeout)

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            running = [job for job in batch if job.future.set_running_or_notify_cancel()]
            if running:
                self._on_batch(len(running))
                self._answer_batch(running)

    def _answer_batch(self, jobs: list[_Job]) -> None:
        try:
            answers = self._answer([job.request for job in jobs])
        except Exception as error:  # the thread must live on
            answers = [error] * len(jobs)
        for job, answer in zip(jobs, answers, strict=True):
            if isinstance(answer, Exception):
                job.future.set_exception(answer)
            else:
                job.future.set_result(answer)

    def _next_batch(self) -> list[_Job] | None:
        """The next requests; None at the end."""
        first = self._queue.get()
        if first is None:
            return None
        batch = [first]
        deadline = time.monotonic() + self._window
        while len(batch) < self._size:
            try:
                left = max(0.0, deadline - time.monotonic())
                job = self._queue.get(timeout=left) if left else self._queue.get_nowait()
            except queue.Empty:
                break
            if job is None:
                self._queue.put(None)  # ends this thread after the batch
                break
            batch.append(job)
        return batch
