"""Collecting a batch that has ended: its answers into the store, its bill into the ledger.

Repeating it changes nothing: an answer is known by its request key, and a purchase by that key with
the moment at which the batch ended. So a crash in the middle costs another download and no more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from convrec.llm.batch.client import BatchClient
from convrec.llm.batch.output import line_outcome, read_output_lines
from convrec.llm.batch.store import BatchRecord, BatchStore, unreadable_file
from convrec.llm.client import Failure, Success
from convrec.llm.context import FetchContext
from convrec.llm.prices import NO_USAGE, Usage, cost
from convrec.llm.requests import chunks
from convrec.llm.response import Response, make_response
from convrec.llm.spool import spool_write_error

if TYPE_CHECKING:
    from openai.types import Batch

LINES_PER_COMMIT = 1000


@dataclass
class CollectedBatch:
    """What a batch gave: answered keys, failures for good by key, and what was billed.

    `terminal` is a refusal that would meet every request alike, `unreadable` the number of lines
    that nobody can read; they lie in `spool/unread-KEY.jsonl`.
    """

    answered: set[str] = field(default_factory=set)
    failures: dict[str, str] = field(default_factory=dict)
    usage: Usage = NO_USAGE
    usd: float = 0.0
    terminal: str = ""
    unreadable: int = 0


def collect(
    batch: Batch, row: BatchRecord, book: BatchStore, control: BatchClient, errand: FetchContext
) -> CollectedBatch:
    """Download the output and error files of an ended batch and store what they hold."""
    collected = CollectedBatch()
    moment = ended_at(batch)
    unread = unreadable_file(book.folder, row.batch_key)
    unread.unlink(missing_ok=True)

    def put_aside(number: int, line: bytes) -> None:
        collected.unreadable += 1
        try:
            with unread.open("ab") as file:
                file.write(line)
        except OSError as error:
            raise spool_write_error(book.folder, error) from None

    for file_id in (batch.output_file_id, batch.error_file_id):
        if file_id:
            path = book.folder / f"batch-{row.batch_key}.{file_id}.jsonl"
            control.download(file_id, path)
            for lines in chunks(read_output_lines(path, put_aside), LINES_PER_COMMIT):
                _store(lines, row, moment, book, errand, collected)
            path.unlink()
    return collected


def ended_at(batch: Batch) -> datetime:
    """When a batch ended, as the endpoint says; the same however often one asks."""
    stamps = (batch.completed_at, batch.expired_at, batch.cancelled_at, batch.failed_at)
    stamp = next((s for s in stamps if s), batch.created_at)
    return datetime.fromtimestamp(stamp, UTC)


def _store(
    lines: list[dict[str, Any]],
    row: BatchRecord,
    moment: datetime,
    book: BatchStore,
    errand: FetchContext,
    collected: CollectedBatch,
) -> None:
    requests = book.requests(row, [line["custom_id"] for line in lines])
    answers: list[Response] = []
    for line in lines:
        request = requests.get(line["custom_id"])
        if request is None or request.key in collected.answered:
            continue  # somebody else's, which says nothing about our requests, or a line again
        outcome = line_outcome(line, request, url=errand.base_url, key=errand.key)
        if outcome.usage:
            usd = cost(errand.price(request), outcome.usage, batch=True)
            collected.usage, collected.usd = collected.usage + outcome.usage, collected.usd + usd
            answers.append(
                make_response(
                    request,
                    outcome.response if isinstance(outcome, Success) else "",
                    outcome.usage,
                    usd,
                    run=row.run,
                    stage=row.stage,
                    origin="batch",
                    created_at=moment,
                )
            )
        _sort(request.key, outcome, collected)
    errand.answers.add(answers)


def _sort(key: str, outcome: Success | Failure, collected: CollectedBatch) -> None:
    if isinstance(outcome, Success):
        collected.answered.add(key)
    elif outcome.kind == "request":
        collected.failures[key] = outcome.reason
    elif outcome.kind == "terminal":
        collected.terminal = collected.terminal or outcome.reason
