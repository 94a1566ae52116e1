"""One fetch through batches: pack requests, submit, poll until they end, and collect."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from convrec.errors import BudgetExceeded, EndpointError
from convrec.llm.batch.client import BatchClient, UploadedFile
from convrec.llm.batch.collect import CollectedBatch, collect_batch
from convrec.llm.batch.passing import (
    FileLostError,
    FileNotReadyError,
    NotFoundError,
    QueueFullError,
    batch_errors,
    done_count,
    final_state,
    passing_refusal,
)
from convrec.llm.batch.store import (
    CANCELLED_NOTE,
    NEVER_SUBMITTED_NOTE,
    BatchDraft,
    BatchRecord,
    BatchStore,
    input_line,
    remove_transfers,
)
from convrec.llm.budget import max_usage
from convrec.llm.fetch_context import FetchContext
from convrec.llm.prices import cost
from convrec.llm.requests import Request, chunks

if TYPE_CHECKING:
    from openai.types import Batch

USUAL_STATES = ("validating", "in_progress", "finalizing", "cancelling")
"""Status of a batch that goes on; the progress names any other word."""

QUEUE_SECONDS = 86_400.0
"""How long room in the endpoint's queue of batches is waited for."""

QUEUE_TRIES = 3
"""Refusals by a full queue, without a batch of ours in it, after which a batch is halved."""

NEW_SECONDS = 120.0
"""How long the endpoint may not know a batch that it has just created."""

INITIAL_POLL = 0.5
"""Seconds until the first poll of a batch; the pause doubles up to `llm.batch.poll_seconds`."""

REQUESTS_PER_COMMIT = 500


class BatchSender:
    """One fetch through batches.

    `wanted` are the keys without a response or failure, `sent` those that this fetch submitted.
    With `submits=False` it only waits for batches, and its caller counts the responses.
    """

    def __init__(self, ctx: FetchContext, client: BatchClient, *, submits: bool = True) -> None:
        self.wanted: set[str] = set()
        self.sent: set[str] = set()
        self._ctx, self._client, self._submits = ctx, client, submits
        self._batch_store = BatchStore(ctx.responses.store)
        self._settings = ctx.config.llm.batch
        self._max_requests = self._settings.max_requests
        self._reserved = 0.0
        self._rounds = 0
        self._endpoint_error = ""
        self._budget_error = ""
        self._created_at: dict[str, float] = {}
        self._queue_full_since = 0.0
        self._queue_refusals = 0
        self._waiting = ""

    def needs_another_round(self) -> bool:
        """Whether another batch is needed. Raises the errors of the round that has ended."""
        self._ctx.budget.release(self._reserved)
        self._reserved = 0.0
        if self._endpoint_error:
            raise EndpointError(self._endpoint_error)
        if self._budget_error:
            raise BudgetExceeded(self._budget_error)
        if self.wanted and self._rounds >= self._settings.max_rounds:
            reason = f"no answer in {self._rounds} batches"
            self._ctx.stats.failures.update(dict.fromkeys(self.wanted, reason))
            self.wanted = set()
        return bool(self.wanted)

    # -- packing -------------------------------------------------------------------------------

    def reserve_open_batches(self) -> None:
        """Reserve the maximum cost of batches that earlier attempts of this run left open."""
        for request in self._batch_store.open_requests(self._ctx.run):
            self._reserve(self._max_cost(request))

    def pack(self, missing: Iterator[Request]) -> None:
        """Assign requests to batches, except those that are stored, batched or claimed."""
        ctx = self._ctx
        self.wanted = set()
        ctx.stats.activity = "packing batches"
        with ctx.responses.open_spool() as spool, ExitStack() as locks:
            draft: BatchDraft | None = None
            for chunk in chunks(missing, REQUESTS_PER_COMMIT):
                ctx.responses.recover()
                by_key = {request.key: request for request in chunk}
                claim = spool.claim(list(by_key), ctx.responses.key_status)
                # Another process may have collected batches that this fetch submitted.
                bought = claim.stored & self.sent
                ctx.stats.bought += len(bought)
                ctx.stats.found += len(claim.stored - bought)
                self.wanted.update(by_key.keys() - claim.stored)
                affordable = self._affordable([by_key[key] for key in claim.granted])
                draft = self._add_to_draft(affordable, draft, locks)
                spool.release(claim.granted)
                ctx.stats.report()
            if draft is not None:
                self._batch_store.update(draft, state="ready")

    def _max_cost(self, request: Request) -> float:
        return cost(self._ctx.price(request), max_usage(request.body), batch=True)

    def _reserve(self, max_cost: float) -> None:
        self._ctx.budget.reserve(max_cost)
        self._reserved += max_cost

    def _affordable(self, requests: list[Request]) -> list[Request]:
        """The requests up to the first whose maximum cost the budget does not cover."""
        ctx, affordable = self._ctx, []
        for request in requests:
            max_cost = self._max_cost(request)
            if not self._budget_error and not ctx.budget.allows(max_cost):
                self._budget_error = ctx.budget.exceeded_message(ctx.stage, max_cost)
            if self._budget_error:
                self.wanted.discard(request.key)
            else:
                self._reserve(max_cost)
                affordable.append(request)
        return affordable

    def _add_to_draft(
        self, requests: list[Request], draft: BatchDraft | None, locks: ExitStack
    ) -> BatchDraft | None:
        """Add requests to a draft; a full one is finished and the next one is returned."""
        ctx = self._ctx
        group: list[Request] = []
        for request in requests:
            size = len(input_line(request.key, request.body_json).encode())
            limits = (self._max_requests, self._settings.max_bytes)
            if draft is None or not draft.fits(request.model, size, *limits):
                if draft is not None:
                    draft.write_requests(group)
                    self._batch_store.update(draft, state="ready")
                group = []
                draft = BatchDraft(self._batch_store, request.endpoint, ctx.stage, ctx.run)
                locks.enter_context(self._batch_store.try_lock(draft.batch_key))
            draft.count_line(request.model, size)
            group.append(request)
        if draft is not None and group:
            draft.write_requests(group)
        return draft

    # -- submitting and polling ----------------------------------------------------------------

    def wait(self) -> None:
        """Submit and poll batches until none holds a wanted request."""
        stats = self._ctx.stats
        done: dict[str, int] = {}
        pause = min(INITIAL_POLL, self._settings.poll_seconds)
        submitted = False
        while records := self._batch_store.open_with(self.wanted):
            for record in records:
                if record.state != "submitted":
                    submitted |= self._submit(record)
                done[record.batch_key] = self.poll_batch(record.batch_key)
                stats.pending = sum(done.values())
                stats.activity = f"{stats.pending:,} done in open batches{self._waiting}"
                stats.report()
            if self._batch_store.open_with(self.wanted):
                time.sleep(pause)
                pause = min(2 * pause, self._settings.poll_seconds)
        self._rounds += submitted
        stats.pending = 0
        while self._submits and (elsewhere := self._count_claimed_elsewhere()):
            stats.activity = f"another run is sending {elsewhere:,} of the requests"
            stats.report()
            time.sleep(1)

    def poll_batch(self, batch_key: str) -> int:
        """Collect a batch if it has ended, else return how many of its requests are done."""
        record = self._batch_store.record(batch_key)
        if record is None or record.state != "submitted":
            return 0
        batch = self._get_batch(record)
        if batch is None:
            return 0
        if not final_state(batch):
            self._waiting = "" if batch.status in USUAL_STATES else f" (state {batch.status!r})"
            return done_count(batch)
        with self._batch_store.try_lock(batch_key) as is_locked:
            record = self._batch_store.record(batch_key)
            if is_locked and record is not None and record.state == "submitted":
                self._collect(batch, record)
        return 0

    def _get_batch(self, record: BatchRecord) -> Batch | None:
        """The state of a batch; None if the endpoint does not know yet that it created it."""
        created_at = self._created_at.get(record.batch_key, -NEW_SECONDS)
        try:
            return self._client.get_batch(record.batch_id)
        except NotFoundError:
            if time.monotonic() - created_at < NEW_SECONDS:
                return None
            raise

    def _count_claimed_elsewhere(self) -> int:
        """How many wanted requests another process is sending."""
        self._ctx.responses.recover()
        return len(self._ctx.responses.claimed_elsewhere(self.wanted))

    def _submit(self, record: BatchRecord) -> bool:
        """Submit a batch unless another process is at it; whether this call created it."""
        batch_store, ctx = self._batch_store, self._ctx
        with batch_store.try_lock(record.batch_key) as is_locked:
            current = batch_store.record(record.batch_key)
            if not is_locked or current is None or current.state in ("submitted", "ended"):
                return False
            batch_id = self._client.find_batch(record.batch_key) if current.file_id else ""
            if current.file_id and not self._client.can_list and current.run != ctx.run:
                raise EndpointError(self._unknown_message(current))
            if batch_id:
                batch_store.update(current, batch_id=batch_id, state="submitted")
                return False
            if not self._submits or (record.run != ctx.run and not self._adopt(current)):
                # Packed by a run with its own budget, which is gone: the requests are free again.
                batch_store.end(current, NEVER_SUBMITTED_NOTE)
                return False
            ctx.settle_check()
            batch_id = self._create(current)
            if not batch_id:
                return False
            batch_store.update(current, batch_id=batch_id, state="submitted")
            self._created_at[record.batch_key] = time.monotonic()
            keys = batch_store.request_keys(current)
            ctx.stats.sent += len(keys - self.sent)
            self.sent |= keys
        return True

    def _adopt(self, record: BatchRecord) -> bool:
        """Take over a batch whose file another run has uploaded, if all of it is wanted."""
        if not record.file_id or not self._batch_store.request_keys(record) <= self.wanted:
            return False
        requests = self._batch_store.open_requests(record.run, record.batch_key)
        max_cost = sum(self._max_cost(request) for request in requests)
        if not self._ctx.budget.allows(max_cost):
            return False
        self._reserve(max_cost)
        self._batch_store.update(record, run=self._ctx.run)
        return True

    def _create(self, record: BatchRecord) -> str:
        """The endpoint's id of a new batch; empty if it takes no more batches for now."""
        batch_store = self._batch_store
        self._ctx.stats.activity = f"uploading {record.requests:,} requests"
        self._ctx.stats.report()
        if record.state == "draft":
            batch_store.update(record, state="ready")
        file = UploadedFile(record.file_id)
        if not file.file_id:
            path = batch_store.folder / f"batch-{record.batch_key}.input.jsonl"
            batch_store.write_input_file(record, path)
            file = self._client.upload_file(path, record.file_name)
            path.unlink()
            batch_store.update(record, file_id=file.file_id)
        try:
            batch_id = self._client.create_batch(file, record.batch_key)
        except QueueFullError as refusal:
            self._wait_for_queue(record, refusal)
            return ""
        except (FileLostError, FileNotReadyError) as error:
            if isinstance(error, FileLostError) or record.run != self._ctx.run:
                batch_store.end(record, NEVER_SUBMITTED_NOTE)  # next time with another file
            raise
        self._waiting, self._queue_full_since, self._queue_refusals = "", 0.0, 0
        return batch_id

    def _unknown_message(self, record: BatchRecord) -> str:
        return (
            f"it is not known whether batch {record.batch_key} of an earlier run was created: "
            f"{self._client.url} does not list its batches. Look there; if it has none, free the "
            f"requests with `convrec llm batches --release {record.batch_key}`"
        )

    def _wait_for_queue(self, record: BatchRecord, refusal: QueueFullError) -> None:
        """Leave a batch for later; halve it if nothing of ours fills the queue."""
        self._waiting = "; waiting for room in the endpoint's queue of batches"
        self._queue_full_since = self._queue_full_since or time.monotonic()
        if time.monotonic() - self._queue_full_since > QUEUE_SECONDS:
            raise EndpointError(f"{refusal}. Batches that are submitted continue; run again later")
        if any(each.state == "submitted" for each in self._batch_store.open_with(self.wanted)):
            return
        self._queue_refusals += 1
        if self._queue_refusals >= QUEUE_TRIES and record.requests > 1:
            self._queue_refusals = 0
            self._max_requests = max(1, record.requests // 2)
            self._batch_store.end(record, "too large for the endpoint's queue")

    # -- collecting ----------------------------------------------------------------------------

    def _collect(self, batch: Batch, record: BatchRecord) -> None:
        remove_transfers(self._batch_store.folder, record.batch_key)
        collected = collect_batch(batch, record, self._batch_store, self._client, self._ctx)
        state = final_state(batch)
        note = state
        if state == "failed":
            note = self._handle_failed(batch, record)
        elif state == "cancelled" and record.note == CANCELLED_NOTE:
            self._endpoint_error = (
                f"batch {record.batch_key} was cancelled. Its responses are stored; run again to "
                "send the rest"
            )
        if collected.unreadable:
            note += f"; lines of its output that cannot be read: {collected.unreadable}"
        self._batch_store.end(record, note)
        self._count(record, collected)

    def _handle_failed(self, batch: Batch, record: BatchRecord) -> str:
        """Halve the batch size, wait for room in the queue, or record the error."""
        code, message = next(iter(batch_errors(batch)), ("no reason", ""))
        if passing_refusal(429, f"{code} {message}") == "queue":
            if record.requests == 1 and self._has_waited_for_queue():
                self._endpoint_error = self._refused_message(record, code, message)
            self._max_requests = max(1, record.requests // 2)
            self._rounds -= 1
        else:
            self._endpoint_error = self._refused_message(record, code, message)
        return f"failed: {code}"

    def _has_waited_for_queue(self) -> bool:
        """Pause before the next try; True if there were enough of them."""
        self._queue_refusals += 1
        if self._queue_refusals > self._ctx.config.llm.max_attempts:
            return True
        time.sleep(min(INITIAL_POLL * 2**self._queue_refusals, self._settings.poll_seconds))
        return False

    def _refused_message(self, record: BatchRecord, code: str, message: str) -> str:
        return (
            f"{self._client.url} refused batch {record.batch_key} of {record.requests:,} "
            f"requests: {code}{': ' if message else ''}{message}. What it ran is stored; fix the "
            "cause and run again"
        )

    def _count(self, record: BatchRecord, collected: CollectedBatch) -> None:
        self._endpoint_error = self._endpoint_error or collected.terminal
        if not self._submits:
            return
        stats, is_own = self._ctx.stats, record.run == self._ctx.run
        answered = self.wanted & collected.answered
        bought = answered if is_own else answered & self.sent
        stats.bought += len(bought)
        stats.found += len(answered - bought)
        if is_own:
            stats.bill(collected.usage, collected.usd)
            self._ctx.budget.bill(collected.usd, 0)
        failed = {k: v for k, v in collected.failures.items() if k in self.wanted}
        stats.failures.update(failed)
        self.wanted -= collected.answered | failed.keys()
