"""Getting the answers that a step still lacks: live, or from a file that was paid for before."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from convrec.errors import InputError

if TYPE_CHECKING:
    from convrec.config import Config
    from convrec.llm.fetch import FetchResult
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
    """Make sure that the answers to `step.requests(job)` are stored, sending none twice.

    Then the step's repairs, if it has any, are asked, always live: they are few, and a batch may
    take a day. `key` is the API key where it is not in the environment. With
    recommend.source=replay the teacher's answers come from the Batch output file instead. Raises
    EndpointError, TooManyFailures, BudgetExceeded, or InputError for an unusable file, or one that
    has none of the answers that are still needed because it is about other conversations.
    """
    from convrec.llm.fetch import FetchResult, await_batches, fetch

    if step.requests is None:
        raise ValueError(f"the step of {step.kind} asks nobody")
    config = ctx.config
    if step.recall is not None:
        step.recall(ctx)
        if step.ordered is not None and (batched := step.ordered(ctx)):
            await_batches(
                batched,
                config=config,
                store=ctx.store,
                stage=step.stage,
                run=run,
                key=key,
                progress=progress,
            )
            step.recall(ctx)
    requests = step.requests(ctx)
    if step.stage == "recommend" and config.recommend.source == "replay":
        from convrec.llm.replay import import_batch_output

        path = Path(config.recommend.replay)
        imported = import_batch_output(path, requests, ctx.store)
        if imported.failures and not imported.bound:
            raise InputError(
                f"no line of {path} names a conversation of this run: `custom_id` must be the id "
                f"of one, such as {next(iter(requests)).owner!r}, or a request key of ours; set "
                "recommend.replay to the output file of the batch that asked about them"
            )
        return imported
    sources = {"recommend": config.recommend.source, "reflect": config.reflect.source}
    source = sources.get(step.stage, "live")

    def send(
        requests: Collection[Request], config: Config, source: str, spent: float
    ) -> FetchResult:
        return fetch(
            requests,
            config=config,
            store=ctx.store,
            stage=step.stage,
            run=run,
            source=source,
            key=key,
            progress=progress,
            spent_usd=spent,
        )

    known = step.known(ctx) if step.known else 0
    try:
        fetched = send(requests, config, source, spent_usd)
    finally:  # also what a stage that stopped has bought: the next may ask for less, or for more
        if step.settle is not None:
            step.settle(ctx)
    if step.repairs is not None and (repairs := step.repairs(ctx)):
        # A handful: one that fails is a failed context, not a sign that the endpoint is ill.
        patient = config.llm.model_copy(update={"max_failures": 1.0})
        lenient = config.model_copy(update={"llm": patient})
        fetched += send(repairs, lenient, "live", spent_usd + fetched.usd)
    return fetched + FetchResult(requests=known, from_ledger=known)
