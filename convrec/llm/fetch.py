"""Make sure that every request of a stage has a stored response, and pay for none twice.

Reading the responses is a separate step (`convrec.llm.read`) that can be repeated at no cost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain

from convrec.artifacts.store import Store
from convrec.config import Config
from convrec.errors import TooManyFailures
from convrec.llm.answer_check import AnswerCheck, is_over
from convrec.llm.batch import collect_ended, send_in_batches, wait_for_batches
from convrec.llm.budget import Budget
from convrec.llm.dispatch_thread import dispatch
from convrec.llm.endpoint import api_key, open_endpoint
from convrec.llm.fetch_context import FetchContext, FetchStats
from convrec.llm.requests import Request, chunks, distinct
from convrec.llm.response_store import ResponseStore, recovered_responses
from convrec.utils.progress import Progress, no_progress


@dataclass(frozen=True)
class FetchResult:
    """The result of a fetch.

    `from_ledger` of the distinct `requests` had a stored response. Retries count as sent once.
    `failures` (by request key) and `reasons` (by context) say why requests have no response.
    """

    requests: int = 0
    from_ledger: int = 0
    sent: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    failures: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)

    def __add__(self, other: FetchResult) -> FetchResult:
        return FetchResult(
            requests=self.requests + other.requests,
            from_ledger=self.from_ledger + other.from_ledger,
            sent=self.sent + other.sent,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            usd=self.usd + other.usd,
            failures={**self.failures, **other.failures},
            reasons={**self.reasons, **other.reasons},
        )


def fetch(
    requests: Collection[Request],
    *,
    config: Config,
    store: Store,
    stage: str,
    run: str = "",
    source: str = "live",
    key: str = "",
    progress: Progress = no_progress,
    spent_usd: float = 0.0,
    check: AnswerCheck | None = None,
) -> FetchResult:
    """Buy the responses that are not stored yet.

    Requests with the same key are sent once. Requests in an open batch of any run are not sent
    again: `fetch` waits for the batch. An interruption (Ctrl-C, SIGTERM) stops sending, stores the
    responses that arrive within `llm.drain_seconds` and is raised again; a second one does not
    wait. The caller may run an event loop.

    `source` is `live` (request by request) or `batch` (through the Batch API). `spent_usd`, what
    the run has paid before, counts against `llm.max_usd`. `check` may stop the fetch because the
    answers cannot be used.

    Raises:
        EndpointError: The endpoint refuses for good or cannot be reached.
        TooManyFailures: More requests failed than `llm.max_failures` allows, or `check` raised it.
        BudgetExceeded: The next request could exceed `llm.max_usd`; it is not sent.
        ConfigError: A model has no price, or the API key is missing.

    Responses received before an error stay stored.
    """
    responses = recovered_responses(store)
    stats = FetchStats(len(requests), progress)
    missing = _missing_chunks(requests, responses, stats)
    first = next(missing, None)
    stats.report()
    if first is not None:
        budget = Budget(config.llm.max_usd, spent_usd)
        with _open_context(config, responses, stats, budget, stage, run, key) as ctx:
            ctx.check = check
            for request in first:
                ctx.price(request)
            collect_ended(ctx)
            remaining: Iterator[Request] = chain(first, chain.from_iterable(missing))
            if source == "batch":
                send_in_batches(requests, remaining, ctx)
            else:
                _send_live(requests, remaining, ctx)
        stats.activity = ""
        stats.report()
    result = FetchResult(
        requests=stats.done,
        from_ledger=stats.found,
        sent=stats.sent,
        prompt_tokens=stats.usage.prompt,
        completion_tokens=stats.usage.completion,
        usd=stats.usd,
        failures=stats.failures,
        reasons=reasons_by_context(requests, stats.failures),
    )
    allowed = config.llm.max_failures
    if is_over(len(result.failures), result.requests, allowed):
        rows = list(result.reasons.items())
        raise TooManyFailures(_failures_message(result, allowed, stage), rows=rows)
    return result


def _send_live(requests: Iterable[Request], missing: Iterator[Request], ctx: FetchContext) -> None:
    """Send `missing` (those of `requests` without a response) one by one."""
    while True:
        batched = dispatch(missing, ctx)
        if ctx.check_is_due:
            ctx.settle_check()
            missing = _unanswered(requests, ctx)
        elif batched:
            wait_for_batches(batched, ctx)
            missing = iter(batched)  # what the batches left without a response
        else:
            return


def _unanswered(requests: Iterable[Request], ctx: FetchContext) -> Iterator[Request]:
    """The requests that have neither a response nor a failure."""
    for chunk in chunks(distinct(requests)):
        stored = ctx.responses.digests([request.key for request in chunk])
        done = stored.keys() | ctx.stats.failures.keys()
        yield from (request for request in chunk if request.key not in done)


def await_batches(
    requests: Collection[Request],
    *,
    config: Config,
    store: Store,
    stage: str,
    run: str = "",
    key: str = "",
    progress: Progress = no_progress,
) -> None:
    """Wait until none of `requests` is in an open batch. Raises EndpointError as `fetch` does."""
    stats, budget = FetchStats(len(requests), progress), Budget(None, 0.0)
    with _open_context(config, recovered_responses(store), stats, budget, stage, run, key) as ctx:
        wait_for_batches(requests, ctx)


@contextmanager
def _open_context(
    config: Config,
    responses: ResponseStore,
    stats: FetchStats,
    budget: Budget,
    stage: str,
    run: str,
    key: str,
) -> Iterator[FetchContext]:
    with open_endpoint(config, responses.store.home / "demo-endpoint") as base_url:
        key = api_key(config, base_url, key)
        yield FetchContext(config, responses, stats, budget, stage, run, base_url, key)


def _missing_chunks(
    requests: Collection[Request], responses: ResponseStore, stats: FetchStats
) -> Iterator[list[Request]]:
    """Requests without a stored response, in chunks; the others count as found."""
    for chunk in chunks(distinct(requests)):
        stored = responses.digests([request.key for request in chunk])
        stats.found += len(stored)
        if missing := [request for request in chunk if request.key not in stored]:
            yield missing


def reasons_by_context(requests: Iterable[Request], failures: Mapping[str, str]) -> dict[str, str]:
    """Context → why its request failed; a request without a context is named by its key."""
    return {
        request.owner or request.key: failures[request.key]
        for request in (requests if failures else ())
        if request.key in failures
    }


def _failures_message(result: FetchResult, allowed: float, stage: str) -> str:
    reasons = Counter(result.failures.values()).most_common(3)
    listed = "; ".join(f"{count} × {reason}" for reason, count in reasons)
    failed = len(result.failures)
    return (
        f"{failed} of {result.requests} requests of {stage} failed "
        f"({failed / result.requests:.1%}, llm.max_failures allows {allowed:.1%}): {listed}. "
        "The responses received are stored; run again to retry the others, or raise "
        "llm.max_failures"
    )
