"""Sending in batches: pack, submit, look until they end, collect, and send what is left."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING

from convrec.errors import BudgetExceeded, ConfigError, EndpointError
from convrec.llm.batch.client import BatchClient
from convrec.llm.batch.collect import CollectedBatch, collect
from convrec.llm.batch.manage import CANCELLED_NOTE
from convrec.llm.batch.store import BatchDraft, BatchRecord, BatchStore, input_line
from convrec.llm.budget import max_usage
from convrec.llm.context import FetchContext
from convrec.llm.endpoint import endpoint_name
from convrec.llm.prices import cost
from convrec.llm.requests import Request, chunks, distinct

if TYPE_CHECKING:
    from openai.types import Batch

FINAL_STATES = ("completed", "expired", "cancelled", "failed")
TOO_MANY_TOKENS = "token_limit_exceeded"
FIRST_LOOK = 0.5
"""Seconds until the first look at a batch; each pause is twice the last, up to poll_seconds."""

REQUESTS_PER_COMMIT = 500
"""Requests recorded in one transaction."""


def send_in_batches(
    requests: Collection[Request], left: Iterator[Request], errand: FetchContext
) -> None:
    """Get the answers to `left` (those of `requests` without one) through the Batch API.

    What a batch leaves without an answer is sent in the next one, at most `llm.batch.max_rounds`
    times. Raises EndpointError for a batch that was refused or that `cancel_batch` ended,
    BudgetExceeded where the budget does not surely bear all requests: those that it bears are
    still sent and waited for.
    """
    with closing(_control(errand)) as control:
        sender = _BatchSender(errand, control)
        sender.resume()
        while True:
            sender.pack(left)
            sender.wait()
            if not sender.again():
                return
            wanted = sender.wanted
            left = (request for request in distinct(requests) if request.key in wanted)


def wait_for_batches(requests: Iterable[Request], errand: FetchContext) -> None:
    """Wait until none of `requests` is in an open batch.

    A batch that was never submitted, and whose owner is gone, is dissolved: its requests are free.
    """
    with closing(_control(errand)) as control:
        sender = _BatchSender(errand, control, submits=False)
        sender.wanted = {request.key for request in requests}
        sender.wait()


def collect_ended(errand: FetchContext) -> None:
    """Collect what earlier runs have in batches that ended, whether or not anybody wants it still.

    After a catalog edit or with another setting other requests are made, and what those batches
    answered is paid for all the same.
    """
    name = endpoint_name(errand.config)
    left = [
        row
        for row in BatchStore(errand.answers.store).rows()
        if (row.state, row.endpoint) == ("submitted", name) and row.run != errand.run
    ]
    if not left:
        return
    with closing(_control(errand)) as control:
        sender = _BatchSender(errand, control, submits=False)
        for row in left:
            with suppress(EndpointError, ConfigError):  # whoever waits for this one hears of it
                sender.look(row.batch_key)


class _BatchSender:
    """One fetch by batches. `wanted` are the keys that have neither an answer nor a failure, `sent`
    those that we submitted.

    One that does not submit only waits: whoever waits for it counts the answers.
    """

    def __init__(self, errand: FetchContext, control: BatchClient, *, submits: bool = True) -> None:
        self.wanted: set[str] = set()
        self.sent: set[str] = set()
        self._errand, self._control, self._submits = errand, control, submits
        self._book = BatchStore(errand.answers.store)
        self._settings = errand.config.llm.batch
        self._max_requests = self._settings.max_requests
        self._reserved = 0.0
        self._rounds = 0
        self._refusal = ""
        self._broke = ""

    def again(self) -> bool:
        """Whether something is left to be sent in another batch. Raises what stands against it."""
        self._errand.budget.release(self._reserved)
        self._reserved = 0.0
        if self._refusal:
            raise EndpointError(self._refusal)
        if self._broke:
            raise BudgetExceeded(self._broke)
        if self.wanted and self._rounds >= self._settings.max_rounds:
            reason = f"no answer in {self._rounds} batches"
            self._errand.tally.failures.update(dict.fromkeys(self.wanted, reason))
            self.wanted = set()
        return bool(self.wanted)

    # -- packing -------------------------------------------------------------------------------

    def resume(self) -> None:
        """Hold back, at its dearest, what an earlier attempt of this run has in open batches."""
        for request in self._book.open_requests(self._errand.run):
            self._reserve(self._bound(request))

    def _bound(self, request: Request) -> float:
        return cost(self._errand.price(request), max_usage(request.body), batch=True)

    def _reserve(self, bound: float) -> None:
        self._errand.budget.reserve(bound)
        self._reserved += bound

    def pack(self, left: Iterator[Request]) -> None:
        """Record which requests go into which batch, leaving out what others have or ask for."""
        self.wanted = set()
        self._errand.tally.note = "packing batches"
        with self._errand.answers.open_spool() as spool, ExitStack() as locks:
            draft: BatchDraft | None = None
            for chunk in chunks(left, REQUESTS_PER_COMMIT):
                self._errand.answers.recover()
                by_key = {request.key: request for request in chunk}
                claim = spool.claim(list(by_key), self._errand.answers.standing)
                collected = claim.stored & self.sent  # by a process that waited for them, too
                self._errand.tally.answered += len(collected)
                self._errand.tally.found += len(claim.stored - collected)
                self.wanted.update(by_key.keys() - claim.stored)
                mine = self._affordable([by_key[key] for key in claim.mine])
                draft = self._write(mine, draft, locks)
                spool.release(claim.mine)
                self._errand.tally.show()
            if draft is not None:
                self._finish(draft)

    def _affordable(self, requests: list[Request]) -> list[Request]:
        """The requests that the budget surely bears, at their dearest, up to the first that not."""
        errand, chosen = self._errand, []
        for request in requests:
            bound = self._bound(request)
            if self._broke or not errand.budget.bears(bound):
                self._broke = self._broke or errand.budget.refusal(errand.stage, bound)
                self.wanted.discard(request.key)
            else:
                self._reserve(bound)
                chosen.append(request)
        return chosen

    def _write(
        self, requests: list[Request], draft: BatchDraft | None, locks: ExitStack
    ) -> BatchDraft | None:
        group: list[Request] = []
        for request in requests:
            model = str(request.body.get("model"))
            body = json.dumps(dict(request.body), ensure_ascii=False)
            size = len(input_line(request.key, body).encode())
            limits = (self._max_requests, self._settings.max_bytes)
            if draft is None or not draft.takes(model, size, *limits):
                if draft is not None:
                    draft.write(group)
                    self._finish(draft)
                group = []
                draft = self._book.draft(request.endpoint, self._errand.stage, self._errand.run)
                locks.enter_context(self._book.holding(draft.batch_key))
            draft.count(model, size)
            group.append(request)
        if draft is not None and group:
            draft.write(group)
        return draft

    def _finish(self, draft: BatchDraft) -> None:
        row = self._book.row(draft.batch_key)
        if row is not None:
            self._book.note(row, state="ready")

    # -- submitting and looking ----------------------------------------------------------------

    def wait(self) -> None:
        """Go round the open batches that hold what is wanted, until there is none."""
        done: dict[str, int] = {}
        pause = min(FIRST_LOOK, self._settings.poll_seconds)
        submitted = False
        while rows := self._book.open_with(self.wanted):
            for row in rows:
                if row.state != "submitted":
                    submitted |= self._submit(row)
                done[row.batch_key] = self.look(row.batch_key)
                self._show(done)
            if self._book.open_with(self.wanted):
                time.sleep(pause)
                pause = min(2 * pause, self._settings.poll_seconds)
        self._rounds += submitted
        self._errand.tally.pending = 0
        while self._submits and (elsewhere := self._elsewhere()):
            self._errand.tally.note = f"{elsewhere:,} are being asked by another run"
            self._errand.tally.show()
            time.sleep(1)

    def _show(self, done: dict[str, int]) -> None:
        tally = self._errand.tally
        tally.pending = sum(done.values())
        tally.note = f"{tally.pending:,} done in open batches"
        tally.show()

    def _elsewhere(self) -> int:
        """How many of the wanted another process is asking for, call by call."""
        self._errand.answers.recover()
        return len(self._errand.answers.asked_elsewhere(self.wanted))

    def _submit(self, row: BatchRecord) -> bool:
        """Bring a batch to the endpoint, unless its owner is at it; whether we created it."""
        with self._book.holding(row.batch_key) as ours:
            fresh = self._book.row(row.batch_key)
            if not ours or fresh is None or fresh.state in ("submitted", "ended"):
                return False
            batch_id = self._control.find_batch(row.batch_key) if fresh.file_id else ""
            if batch_id:
                self._book.note(fresh, batch_id=batch_id, state="submitted")
                return False
            if not self._submits or not self._ours(row):
                # Another run's intent, under another budget: its requests are free again.
                self._book.end(fresh, "never submitted")
                return False
            self._book.note(fresh, batch_id=self._create(fresh), state="submitted")
            keys = self._book.keys(fresh)
            self._errand.tally.sent += len(keys - self.sent)
            self.sent |= keys
        return True

    def _create(self, row: BatchRecord) -> str:
        self._errand.tally.note = f"uploading {row.requests:,} requests"
        self._errand.tally.show()
        if row.state == "draft":
            self._book.note(row, state="ready")
        file_id = row.file_id
        if not file_id:
            path = self._book.folder / f"batch-{row.batch_key}.input.jsonl"
            self._book.write_input(row, path)
            file_id = self._control.upload(path, row.file_name)
            path.unlink()
            self._book.note(row, file_id=file_id)
        return self._control.create(file_id, row.batch_key)

    def look(self, batch_key: str) -> int:
        """Collect a batch if it has ended; the number of its requests that are done."""
        row = self._book.row(batch_key)
        if row is None or row.state != "submitted":
            return 0
        batch = self._control.batch(row.batch_id)
        counts = batch.request_counts
        if batch.status not in FINAL_STATES:
            return counts.completed + counts.failed if counts else 0
        with self._book.holding(batch_key) as ours:
            row = self._book.row(batch_key)
            if ours and row is not None and row.state == "submitted":
                self._collect(batch, row)
        return 0

    def _collect(self, batch: Batch, row: BatchRecord) -> None:
        self._book.clear(row)
        collected = collect(batch, row, self._book, self._control, self._errand)
        note: str = batch.status
        if batch.status == "failed":
            note = self._failed(batch, row)
        elif batch.status == "cancelled" and row.note == CANCELLED_NOTE:
            self._refusal = (
                f"batch {row.batch_key} was cancelled; what it had answered is kept, so run again "
                "to send the rest"
            )
        if collected.unreadable:
            note += f"; lines of its output that cannot be read: {collected.unreadable}"
        self._book.end(row, note)
        self._count(row, collected)

    def _failed(self, batch: Batch, row: BatchRecord) -> str:
        """What the endpoint's validation said of a batch; nothing of it was run or billed."""
        errors = (batch.errors.data if batch.errors else None) or []
        code = str(errors[0].code if errors else "no reason")
        message = " ".join(str(errors[0].message or "").split())[:160] if errors else ""
        if code == TOO_MANY_TOKENS and row.requests > 1:
            self._max_requests = max(1, row.requests // 2)
            self._rounds -= 1
        else:
            self._refusal = (
                f"{self._control.url} refused batch {row.batch_key} of {row.requests:,} requests: "
                f"{code}{': ' if message else ''}{message}; nothing of it was run or billed, so "
                "mend the cause and run again"
            )
        return f"failed: {code}"

    # -- accounts ------------------------------------------------------------------------------

    def _count(self, row: BatchRecord, collected: CollectedBatch) -> None:
        self._refusal = self._refusal or collected.terminal
        if not self._submits:
            return
        errand, tally = self._errand, self._errand.tally
        answered = self.wanted & collected.answered
        bought = answered if self._ours(row) else answered & self.sent
        tally.answered += len(bought)
        tally.found += len(answered - bought)
        if self._ours(row):
            tally.bill(collected.usage, collected.usd)
            errand.budget.bill(collected.usd, 0)
        failed = {k: v for k, v in collected.failures.items() if k in self.wanted}
        tally.failures.update(failed)
        self.wanted -= collected.answered | failed.keys()

    def _ours(self, row: BatchRecord) -> bool:
        """Whether a batch is this run's own purchase."""
        return row.run == self._errand.run


def _control(errand: FetchContext) -> BatchClient:
    llm = errand.config.llm
    return BatchClient(errand.base_url, errand.key, llm.timeout, llm.max_attempts)
