"""Fetch: make sure that every request of a stage has a stored answer, paying for none twice.

The answers themselves are read afterwards, with `AnswerStore.responses`: parsing is a step of its
own that can be repeated at no cost.
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
from convrec.llm.batch import collect_ended, send_in_batches, wait_for_batches
from convrec.llm.budget import Budget
from convrec.llm.context import FetchContext
from convrec.llm.dispatch_thread import dispatch
from convrec.llm.endpoint import api_key, open_endpoint
from convrec.llm.progress import FetchStats
from convrec.llm.requests import Request, chunks, distinct
from convrec.llm.response_store import ResponseStore
from convrec.utils.progress import Progress, silent


@dataclass(frozen=True)
class FetchResult:
    """What became of a stage's requests.

    `requests` are distinct and needed; of these `from_ledger` had an answer in the store, `sent`
    went out (retries count once), and `failures` maps the keys of those without an answer to a
    reason, `reasons` the contexts that ask them. Tokens and US dollars are what this fetch was
    billed.
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
    progress: Progress = silent,
    spent_usd: float = 0.0,
) -> FetchResult:
    """Buy the answers that the store does not have; repeats in `requests` are bought once.

    `source` is `live`, call by call, or `batch`, through the Batch API. `key` is the API key, by
    default that of OPENAI_API_KEY. `spent_usd` is what the run paid before, counted against
    `llm.max_usd`. `progress` is called in the calling thread, which may run an event loop of its
    own. An interruption (Ctrl-C, SIGTERM) sends nothing more, keeps what is in flight, and is
    raised again; a second one does not wait. Requests in a batch that was submitted before, by
    whomever, are waited for and not sent again.

    Raises EndpointError where the endpoint refuses for good or cannot be reached, TooManyFailures
    above `llm.max_failures`, BudgetExceeded before the call that could cross `llm.max_usd`, and
    ConfigError for a model without a price and for a missing key. What was answered until then is
    kept in every case.
    """
    answers = ResponseStore(store)
    tally = FetchStats(len(requests), progress)
    missing = _missing(requests, answers, tally)
    first = next(missing, None)
    tally.show()
    if first is not None:
        budget = Budget(config.llm.max_usd, spent_usd)
        with _errand(config, answers, tally, budget, stage, run, key) as errand:
            for request in first:
                errand.price(request)
            collect_ended(errand)
            left = chain(first, chain.from_iterable(missing))
            if source == "batch":
                send_in_batches(requests, left, errand)
            else:
                _send_live(left, errand)
        tally.note = ""
        tally.show()
    fetched = _fetched(tally, reasons_by_context(requests, tally.failures))
    share, failed = config.llm.max_failures, len(fetched.failures)
    # One bad conversation alone stops nobody; nothing but bad ones does.
    if failed > max(1, share * fetched.requests) or (0 < failed == fetched.requests and share < 1):
        rows = list(fetched.reasons.items())
        raise TooManyFailures(_summary(fetched, share, stage), rows=rows)
    return fetched


def await_batches(
    requests: Collection[Request],
    *,
    config: Config,
    store: Store,
    stage: str,
    run: str = "",
    key: str = "",
    progress: Progress = silent,
) -> None:
    """Wait until none of `requests` is in an open batch. Raises EndpointError as `fetch` does."""
    tally, budget = FetchStats(len(requests), progress), Budget(None, 0.0)
    with _errand(config, ResponseStore(store), tally, budget, stage, run, key) as errand:
        wait_for_batches(requests, errand)


@contextmanager
def _errand(
    config: Config,
    answers: ResponseStore,
    tally: FetchStats,
    budget: Budget,
    stage: str,
    run: str,
    key: str,
) -> Iterator[FetchContext]:
    with open_endpoint(config, answers.store.home / "demo-endpoint") as base_url:
        yield FetchContext(
            config=config,
            answers=answers,
            tally=tally,
            budget=budget,
            stage=stage,
            run=run,
            base_url=base_url,
            key=api_key(config, base_url, key),
        )


def _missing(
    requests: Collection[Request], answers: ResponseStore, tally: FetchStats
) -> Iterator[list[Request]]:
    """The requests without a stored answer, chunk by chunk; the others are counted as found."""
    for chunk in chunks(distinct(requests)):
        stored = answers.digests([request.key for request in chunk])
        tally.found += len(stored)
        if missing := [request for request in chunk if request.key not in stored]:
            yield missing


def _send_live(left: Iterator[Request], errand: FetchContext) -> None:
    """Send call by call; what waits in a batch is waited for, and sent if that gives nothing."""
    while batched := dispatch(left, errand):
        wait_for_batches(batched, errand)
        left = iter(batched)


def reasons_by_context(requests: Iterable[Request], failures: Mapping[str, str]) -> dict[str, str]:
    """Context → why its request failed; a request of no context by its key."""
    return {
        request.owner or request.key: failures[request.key]
        for request in (requests if failures else ())
        if request.key in failures
    }


def _fetched(tally: FetchStats, reasons: Mapping[str, str]) -> FetchResult:
    return FetchResult(
        requests=tally.done,
        from_ledger=tally.found,
        sent=tally.sent,
        prompt_tokens=tally.usage.prompt,
        completion_tokens=tally.usage.completion,
        usd=tally.usd,
        failures=tally.failures,
        reasons=reasons,
    )


def _summary(fetched: FetchResult, allowed: float, stage: str) -> str:
    reasons = Counter(fetched.failures.values()).most_common(3)
    listed = "; ".join(f"{count} × {reason}" for reason, count in reasons)
    failed = len(fetched.failures)
    return (
        f"{failed} of {fetched.requests} requests of {stage} failed "
        f"({failed / fetched.requests:.1%}, llm.max_failures allows {allowed:.1%}): {listed}; the "
        "answers that came are kept, so run again to try only those, or raise llm.max_failures"
    )
