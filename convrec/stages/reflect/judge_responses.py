"""Judge requests, and the index of which request asked about which pairs (table `llm_judged`).

A run indexes the requests that it sends itself. Responses that were stored without being indexed,
by a killed process, from an abandoned batch or from a file, are indexed from their request bodies.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import polars as pl

from convrec.artifacts import Store
from convrec.artifacts.backend import WriteMode
from convrec.artifacts.retry import with_retries
from convrec.llm.answer import read_answer
from convrec.llm.answer_check import Defect, ending_advice
from convrec.llm.batch import BatchStore
from convrec.llm.endpoint import endpoint_name
from convrec.llm.read import responses_state
from convrec.llm.requests import LazyRequests, Request, chunks
from convrec.llm.response_store import ResponseStore, recovered_responses
from convrec.stages.base import AnswerQuality, ResponseSource, StepContext
from convrec.stages.reflect.pairs import PairSlice, cached_pairs, shown_order
from convrec.stages.reflect.parse import parse_first_responses, parse_ratings
from convrec.stages.reflect.prompt import parse_judge_body
from convrec.stages.reflect.ratings import read_ratings

_INSERT_PAIRS = """
INSERT INTO llm_judged BY NAME
SELECT * FROM incoming WHERE NOT EXISTS (
    SELECT 1 FROM llm_judged AS indexed WHERE indexed.judge_key = incoming.judge_key
    AND indexed.pass = incoming.pass AND indexed.request_key = incoming.request_key)
QUALIFY row_number() OVER (PARTITION BY judge_key, pass, request_key ORDER BY context_id) = 1
"""

_UNINDEXED_RESPONSES = """
SELECT request_key, owner, body FROM llm_answers AS answered
WHERE endpoint = ? AND model = ? AND NOT EXISTS (
    SELECT 1 FROM llm_judged AS indexed WHERE indexed.request_key = answered.request_key)
AND NOT EXISTS (
    SELECT 1 FROM llm_ledger AS bought
    WHERE bought.request_key = answered.request_key AND stage != 'reflect')
"""

ROWS_PER_FETCH = 2048

MAX_UNINDEXED = 65_536
"""Requests whose pairs are indexed together."""

_INDEX_COLUMNS = ("judge_key", "pass", "items", "request_key", "context_id")
_IndexRow = tuple[str, int, list[str], str, str]


class JudgeResponses(ResponseSource):
    """Ratings of (context, item) pairs; a pair that was rated before is not asked about again."""

    def requests(self, ctx: StepContext) -> LazyRequests:
        """One request per context and pass that has pairs without a request."""
        pairs = cached_pairs(ctx)
        missing = pl.col("request").is_null()

        def count() -> int:
            return sum(
                part.pairs.filter(missing).select("context", "pass").n_unique()
                for part in pairs.slices()
            )

        def generate() -> Iterator[Request]:
            for part in pairs.slices():
                yield from (each.request for each in pairs.missing_requests(part))

        return LazyRequests(generate, count)

    def repairs(self, ctx: StepContext) -> list[Request]:
        """One request, by key, for each response that is not exactly the requested ratings."""
        repairs: dict[str, Request] = {}
        for part in cached_pairs(ctx).slices():
            repairs |= slice_repairs(ctx, part)
        return [repairs[key] for key in sorted(repairs)]

    def state(self, ctx: StepContext) -> str:
        """A digest of the judge's stored responses and of the pair index."""
        judge = ctx.config.reflect.model
        return responses_state(ctx.config, ctx.store, judge, "reflect", "llm_judged")

    def index_stored(self, ctx: StepContext) -> None:
        """Index the pairs in responses that earlier runs stored without indexing them."""
        ResponseStore(ctx.store).recover()
        while rows := _unindexed_pairs(ctx):
            for chunk in chunks(rows):
                _insert_pairs(chunk, ctx.store)

    def open_batch_requests(self, ctx: StepContext) -> list[Request]:
        """Requests in open batches about missing pairs, in other groups than this run's."""
        batched = BatchStore(ctx.store).open_requests()
        return list(_overlapping_requests(ctx, batched)) if batched else []

    def record(self, ctx: StepContext) -> None:
        """Index the pairs of all requests of this run that have a response."""
        pairs, responses = cached_pairs(ctx), recovered_responses(ctx.store)
        for part in pairs.slices():
            for chunk in chunks(pairs.missing_requests(part)):
                answered = responses.digests([each.request.key for each in chunk])
                rows = [
                    (key, pass_number, items, request.key, request.owner)
                    for request, key, pass_number, items in chunk
                    if request.key in answered
                ]
                _insert_pairs(rows, ctx.store)

    def answered_count(self, ctx: StepContext) -> int:
        """How many requests the indexed pairs stand for."""
        slices = cached_pairs(ctx).slices()
        keys = [part.requests["request_key"].hash() for part in slices]  # eight bytes each
        return pl.concat(keys).n_unique() if keys else 0

    def quality(self, ctx: StepContext) -> AnswerQuality:
        """The answers without ratings, even after a repair."""
        answers = 0
        unusable: dict[str, str] = {}
        for part in cached_pairs(ctx).slices():
            parsed = parse_ratings(part.requests, ctx.store, ctx.config.reflect.scale)
            answers += parsed.responses
            keys = part.requests["request_key"]
            unusable |= {keys[number]: each.reason for number, each in parsed.unusable.items()}
        return AnswerQuality(answers, unusable)

    def find_defect(
        self, ctx: StepContext, request: Request, response: Mapping[str, Any]
    ) -> Defect | None:
        """Why a first answer is not the requested ratings; None if it is."""
        reflect, answer = ctx.config.reflect, read_answer(response)
        reason = answer.reason
        shown = parse_judge_body(request.body)
        if shown is None:  # a repair
            return None
        if answer.text is not None:
            try:
                read_ratings(answer.text, len(shown[0]), reflect.scale)
            except ValueError as error:
                reason = str(error)
        if not reason:
            return None
        advice = ending_advice(answer, "reflect.max_tokens", reflect.max_tokens, "reflect.model")
        if not advice and answer.text is None:
            advice = f"Change reflect.model (now {reflect.model})"
        elif not advice:
            advice = (
                f"Change reflect.response_format (now {reflect.response_format}) or reflect.model"
            )
        return Defect(reason, advice, answer.text or answer.content)


def slice_repairs(ctx: StepContext, part: PairSlice) -> dict[str, Request]:
    """The repair requests of a slice, by request key: of indexed requests and of missing ones."""
    missing = cached_pairs(ctx).missing_requests(part)
    keys = [(each.request.key, len(each.items)) for each in missing]
    unindexed = pl.DataFrame(keys, part.requests.schema, orient="row")
    requests = pl.concat([part.requests, unindexed])
    first = parse_first_responses(requests, ctx.store, ctx.config.reflect.scale)
    return {repair.key: repair for repair in first.repairs()}


def _overlapping_requests(ctx: StepContext, batched: Iterable[Request]) -> Iterator[Request]:
    pairs, endpoint = cached_pairs(ctx), endpoint_name(ctx.config)
    missing = {
        (each.judge_key, each.pass_number): each.items
        for part in pairs.slices()
        for each in pairs.missing_requests(part)
    }
    for request in batched:
        shown = _shown_passes(request, ctx) if request.endpoint == endpoint else []
        for key, pass_number, items in shown:
            ours = missing.get((key, pass_number), [])
            if ours != items and not set(ours).isdisjoint(items):
                yield request
                break


def _unindexed_pairs(ctx: StepContext) -> list[_IndexRow]:
    """Pairs in the judge's responses that are not in the index: some, or none if all are."""
    endpoint = endpoint_name(ctx.config)
    lines: dict[str, str] = {}  # one string object for equal lines
    pairs: list[_IndexRow] = []
    with ctx.store.read_connection() as connection:
        result = connection.execute(_UNINDEXED_RESPONSES, [endpoint, ctx.config.reflect.model])
        while len(pairs) < MAX_UNINDEXED and (rows := result.fetchmany(ROWS_PER_FETCH)):
            for request_key, owner, body in rows:
                request = Request(owner or "", endpoint, json.loads(body))
                for key, pass_number, items in _shown_passes(request, ctx):
                    interned = [lines.setdefault(line, line) for line in items]
                    pairs.append((key, pass_number, interned, request_key, request.owner))
    return pairs


def _shown_passes(request: Request, ctx: StepContext) -> list[tuple[str, int, list[str]]]:
    """(judge key, pass, lines) for every pass that shows the request's lines in this order."""
    if (parsed := parse_judge_body(request.body)) is None:
        return []
    items, bare_body = parsed
    key = Request("", request.endpoint, bare_body).key
    return [
        (key, pass_number, items)
        for pass_number in range(1, ctx.config.reflect.passes + 1)
        if shown_order(items, key, pass_number) == items
    ]


@with_retries
def _insert_pairs(rows: list[_IndexRow], store: Store) -> None:
    if rows:
        with store.transaction(WriteMode.APPEND) as connection:
            table = pl.DataFrame(rows, schema=_INDEX_COLUMNS, orient="row")
            connection.register("incoming", table.to_arrow())
            connection.execute(_INSERT_PAIRS)
