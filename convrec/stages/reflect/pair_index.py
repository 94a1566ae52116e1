"""Notes of which answered request asked the judge about which pairs, for every later run.

A run notes what it has asked itself. What was stored when nobody was there to note it, by a process
that was killed, out of a batch that nobody waited for or out of a file, is read from the requests.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from convrec.artifacts.retry import again
from convrec.llm.batch import BatchStore
from convrec.llm.endpoint import endpoint_name
from convrec.llm.requests import Request, chunks
from convrec.llm.response_store import ResponseStore
from convrec.stages.reflect.pairs import pairs_of, shown_order
from convrec.stages.reflect.prompt import shown_in

if TYPE_CHECKING:
    from convrec.artifacts import Store
    from convrec.stages.base import StepContext

_NOTE = """
INSERT INTO llm_judged BY NAME
SELECT * FROM asked WHERE NOT EXISTS (
    SELECT 1 FROM llm_judged AS known WHERE known.judge_key = asked.judge_key
    AND known.pass = asked.pass AND known.request_key = asked.request_key)
QUALIFY row_number() OVER (PARTITION BY judge_key, pass, request_key ORDER BY context_id) = 1
"""

_UNNOTED = """
SELECT request_key, owner, body FROM llm_answers AS answered
WHERE endpoint = ? AND model = ? AND NOT EXISTS (
    SELECT 1 FROM llm_judged AS known WHERE known.request_key = answered.request_key)
AND NOT EXISTS (
    SELECT 1 FROM llm_ledger AS bought
    WHERE bought.request_key = answered.request_key AND stage != 'reflect')
"""

AT_ONCE = 2048
"""Requests that are read at a time."""


class _Noted(NamedTuple):
    judge_key: str
    round: int
    items: list[str]
    request_key: str
    context_id: str


def record_responses(ctx: StepContext) -> None:
    """Note the pairs of all requests of a job that have an answer by now."""
    pairs, answers = pairs_of(ctx), ResponseStore(ctx.store)
    for some in pairs.slices():
        for chunk in chunks(pairs.asked(some)):
            answered = answers.digests([a.request.key for a in chunk])
            found = [a for a in chunk if a.request.key in answered]
            _note([_Noted(*a[1:], a.request.key, a.request.owner) for a in found], ctx.store)


def index_stored_responses(ctx: StepContext) -> None:
    """Note the pairs of the judge's answers that were stored without a note."""
    ResponseStore(ctx.store)  # saves what crashed processes left
    for chunk in chunks(list(_unnoted(ctx))):  # nobody writes while it is read
        _note(chunk, ctx.store)


def open_batch_requests(ctx: StepContext) -> list[Request]:
    """The requests in open batches about pairs that are lacking, where this job asks otherwise.

    What somebody has ordered need not be ordered again.
    """
    batched = BatchStore(ctx.store).open_requests()
    return list(_otherwise(ctx, batched)) if batched else []


def _otherwise(ctx: StepContext, batched: Iterable[Request]) -> Iterator[Request]:
    pairs, endpoint = pairs_of(ctx), endpoint_name(ctx.config)
    lacking = {
        (asked.judge_key, asked.round): asked.items
        for some in pairs.slices()
        for asked in pairs.asked(some)
    }
    for request in batched:
        found = _asked_in(request, ctx) if request.endpoint == endpoint else []
        for key, number, items in found:
            ours = lacking.get((key, number), [])
            if ours != items and not set(ours).isdisjoint(items):
                yield request
                break


def _unnoted(ctx: StepContext) -> Iterator[_Noted]:
    """What answers without a note were asked."""
    endpoint = endpoint_name(ctx.config)
    lines: dict[str, str] = {}
    with ctx.store.read_connection() as connection:
        found = connection.execute(_UNNOTED, [endpoint, ctx.config.reflect.model])
        while rows := found.fetchmany(AT_ONCE):
            for request_key, owner, body in rows:
                request = Request(owner or "", endpoint, json.loads(body))
                for key, number, items in _asked_in(request, ctx):
                    kept = [lines.setdefault(line, line) for line in items]
                    yield _Noted(key, number, kept, request_key, request.owner)


def _asked_in(request: Request, ctx: StepContext) -> list[tuple[str, int, list[str]]]:
    """What a judge's request asks: judge key, pass and lines, once for each pass in their order."""
    if (shown := shown_in(request.body)) is None:
        return []
    items, bare = shown
    key = Request("", request.endpoint, bare).key
    passes = range(1, ctx.config.reflect.passes + 1)
    return [(key, number, items) for number in passes if shown_order(items, key, number) == items]


def _note(noted: list[_Noted], store: Store) -> None:
    import polars as pl

    if not noted:
        return
    columns = ["judge_key", "pass", "items", "request_key", "context_id"]
    frame = pl.DataFrame(noted, schema=columns, orient="row").to_arrow()

    @again
    def commit() -> None:
        with store.write(growing=True) as connection:
            connection.register("asked", frame)
            connection.execute(_NOTE)

    commit()
