"""Fetching the LLM responses that a step still misses: live, in batches, or from a paid file."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from convrec.config import Config
from convrec.errors import InputError
from convrec.llm.fetch import FetchResult, await_batches, fetch
from convrec.llm.import_responses import import_batch_output
from convrec.llm.requests import Request
from convrec.stages.base import Step, StepContext
from convrec.utils.progress import Progress


def fetch_responses(
    step: Step,
    ctx: StepContext,
    *,
    run: str,
    spent_usd: float,
    progress: Progress,
    key: str = "",
) -> FetchResult:
    """Store the responses to all requests of a step; no request is sent twice.

    Repairs follow, always live: they are few, and a batch may take a day. `key` is the API key if
    it is not in the environment. With recommend.source=replay the teacher's responses come from
    the Batch output file instead.

    Raises EndpointError, TooManyFailures, BudgetExceeded, or InputError for an unusable file and
    for one that has no response to this run's requests.
    """
    source = step.responses
    if source is None:
        raise ValueError(f"the step of {step.kind} reads no LLM responses")
    config = ctx.config

    def send(requests: Collection[Request], config: Config, mode: str, spent: float) -> FetchResult:
        return fetch(
            requests,
            config=config,
            store=ctx.store,
            stage=step.stage,
            run=run,
            source=mode,
            key=key,
            progress=progress,
            spent_usd=spent,
        )

    source.index_stored(ctx)
    if batched := source.open_batch_requests(ctx):
        await_batches(
            batched,
            config=config,
            store=ctx.store,
            stage=step.stage,
            run=run,
            key=key,
            progress=progress,
        )
        source.index_stored(ctx)
    requests = source.requests(ctx)
    if step.stage == "recommend" and config.recommend.source == "replay":
        return _replay(requests, ctx)
    modes = {"recommend": config.recommend.source, "reflect": config.reflect.source}
    answered = source.answered_count(ctx)
    try:
        fetched = send(requests, config, modes.get(step.stage, "live"), spent_usd)
    finally:  # a fetch that stopped has bought responses too
        source.record(ctx)
    if repairs := source.repairs(ctx):
        # A handful: one that fails is a failed context and says nothing about the endpoint.
        lenient_llm = config.llm.model_copy(update={"max_failures": 1.0})
        lenient = config.model_copy(update={"llm": lenient_llm})
        fetched += send(repairs, lenient, "live", spent_usd + fetched.usd)
    return fetched + FetchResult(requests=answered, from_ledger=answered)


def _replay(requests: Collection[Request], ctx: StepContext) -> FetchResult:
    path = Path(ctx.config.recommend.replay)
    imported = import_batch_output(path, requests, ctx.store)
    if imported.failures and not imported.matched:
        raise InputError(
            f"no line of {path} names a conversation of this run: `custom_id` must be the id "
            f"of one, such as {next(iter(requests)).owner!r}, or a request key of ours; set "
            "recommend.replay to the output file of the batch that asked about them"
        )
    return imported
