"""Collect an ended batch: its responses into the store, its bill into the ledger.

Collecting again changes nothing: a response is identified by its request key, a purchase by that
key and the time at which the batch ended. A crash midway costs only another download.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from convrec.llm.batch.client import BatchClient
from convrec.llm.batch.output import line_outcome, read_output_lines
from convrec.llm.batch.store import BatchRecord, BatchStore, unreadable_file
from convrec.llm.fetch_context import FetchContext
from convrec.llm.outcome import Success
from convrec.llm.prices import NO_USAGE, Usage, cost
from convrec.llm.requests import chunks
from convrec.llm.response import Response, make_response
from convrec.llm.spool import spool_write_error

if TYPE_CHECKING:
    from openai.types import Batch

LINES_PER_COMMIT = 1000


@dataclass
class CollectedBatch:
    """What an ended batch held.

    `failures` gives the reason for each request key that must not be sent again. `terminal` is a
    refusal that would meet every request. Unreadable lines are kept in `spool/unread-KEY.jsonl`.
    """

    answered: set[str] = field(default_factory=set)
    failures: dict[str, str] = field(default_factory=dict)
    usage: Usage = NO_USAGE
    usd: float = 0.0
    terminal: str = ""
    unreadable: int = 0


def collect_batch(
    batch: Batch,
    record: BatchRecord,
    batch_store: BatchStore,
    client: BatchClient,
    ctx: FetchContext,
) -> CollectedBatch:
    """Download the output and error files of an ended batch and store what they hold."""
    collected = CollectedBatch()
    moment = ended_at(batch, record.created_at)
    unreadable = unreadable_file(batch_store.folder, record.batch_key)
    unreadable.unlink(missing_ok=True)

    def keep_unreadable(number: int, line: bytes) -> None:
        collected.unreadable += 1
        try:
            with unreadable.open("ab") as file:
                file.write(line)
        except OSError as error:
            raise spool_write_error(batch_store.folder, error) from None

    for file_id in (batch.output_file_id, batch.error_file_id):
        if file_id:
            path = batch_store.folder / f"batch-{record.batch_key}.{file_id}.jsonl"
            client.download_file(file_id, path)
            for lines in chunks(read_output_lines(path, keep_unreadable), LINES_PER_COMMIT):
                _store_lines(lines, record, moment, batch_store, ctx, collected)
            path.unlink()
    return collected


def ended_at(batch: Batch, created_at: datetime) -> datetime:
    """When a batch ended according to the endpoint, the same at each call.

    `created_at` is taken if the endpoint gives no time.
    """
    names = ("completed_at", "expired_at", "cancelled_at", "failed_at", "created_at")
    stamps = (getattr(batch, name, None) for name in names)
    stamp = next((s for s in stamps if isinstance(s, (int, float)) and s > 0), None)
    return datetime.fromtimestamp(stamp, UTC) if stamp else created_at.replace(tzinfo=UTC)


def _store_lines(
    lines: list[dict[str, Any]],
    record: BatchRecord,
    moment: datetime,
    batch_store: BatchStore,
    ctx: FetchContext,
    collected: CollectedBatch,
) -> None:
    requests = batch_store.find_requests(record, [line["custom_id"] for line in lines])
    responses: list[Response] = []
    for line in lines:
        request = requests.get(line["custom_id"])
        if request is None or request.key in collected.answered:
            continue  # not a request of this batch, or a repeated line
        outcome = line_outcome(line, request, url=ctx.base_url, key=ctx.key)
        if outcome.usage:
            usd = cost(ctx.price(request), outcome.usage, batch=True)
            collected.usage, collected.usd = collected.usage + outcome.usage, collected.usd + usd
            responses.append(
                make_response(
                    request,
                    outcome.response if isinstance(outcome, Success) else "",
                    outcome.usage,
                    usd,
                    run=record.run,
                    stage=record.stage,
                    origin="batch",
                    created_at=moment,
                )
            )
        if isinstance(outcome, Success):
            collected.answered.add(request.key)
            if ctx.check is not None and (record.run, record.stage) == (ctx.run, ctx.stage):
                ctx.check.count_answer(request, outcome.response)
        elif outcome.kind == "request":
            collected.failures[request.key] = outcome.reason
        elif outcome.kind == "terminal":
            collected.terminal = collected.terminal or outcome.reason
    ctx.responses.add(responses)
