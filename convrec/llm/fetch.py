"""Fetch: make sure that every request of a stage has a stored answer, paying for none twice.

The answers themselves are read afterwards, with `AnswerStore.responses`: parsing is a step of its
own that can be repeated at no cost.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from convrec.artifacts.store import Store
from convrec.config import Config
from convrec.errors import TooManyFailures
from convrec.llm.answers import AnswerStore
from convrec.llm.courier import Courier
from convrec.llm.endpoint import api_key, open_endpoint
from convrec.llm.prices import price_of
from convrec.llm.requests import Request
from convrec.llm.spool import Spool

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Fetched:
    """What became of a stage's requests.

    `requests` are distinct and needed; of these `from_ledger` had an answer in the store, `sent`
    went out (retries count once), and `failures` maps the keys of those without an answer to a
    reason. Tokens and US dollars are what this fetch was billed.
    """

    requests: int = 0
    from_ledger: int = 0
    sent: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    failures: Mapping[str, str] = field(default_factory=dict)

    def __add__(self, other: Fetched) -> Fetched:
        return Fetched(
            requests=self.requests + other.requests,
            from_ledger=self.from_ledger + other.from_ledger,
            sent=self.sent + other.sent,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            usd=self.usd + other.usd,
            failures={**self.failures, **other.failures},
        )


def _silent(done: int, total: int, text: str) -> None:
    """Report nothing."""


def fetch(
    requests: Sequence[Request],
    *,
    config: Config,
    store: Store,
    stage: str,
    run: str = "",
    progress: Progress = _silent,
    spent_usd: float = 0.0,
) -> Fetched:
    """Buy the answers that the store does not have; repeats in `requests` are bought once.

    `spent_usd` is what the run paid before, counted against `llm.max_usd`. `progress` is called in
    the calling thread, which may run an event loop of its own. An interruption (Ctrl-C) sends
    nothing more, keeps what is in flight, and is raised again; a second one does not wait.

    Raises EndpointError where the endpoint refuses for good or cannot be reached, TooManyFailures
    above `llm.max_failures`, BudgetExceeded before the call that could cross `llm.max_usd`, and
    ConfigError for a model without a price. What was answered until then is kept in every case.
    """
    wanted = {request.key: request for request in requests}
    answers = AnswerStore(store)
    stored = answers.digests(wanted.keys())
    missing = [request for key, request in wanted.items() if key not in stored]
    progress(len(stored), len(wanted), f"{len(stored)} already answered")
    if not missing:
        return Fetched(requests=len(wanted), from_ledger=len(stored))
    models = {str(request.body.get("model")) for request in missing}
    prices = {model: price_of(model, config) for model in models}
    with open_endpoint(config) as base_url, Spool(answers.folder) as spool:
        courier = Courier(
            missing,
            settings=config.llm,
            prices=prices,
            answers=answers,
            spool=spool,
            stage=stage,
            run=run,
            spent_usd=spent_usd,
        )
        key = api_key(config, base_url)

        def report() -> None:
            done, failed = len(stored) + courier.done, len(courier.failures)
            progress(done, len(wanted), f"{courier.sent} sent, {failed} failed, ${courier.usd:.4f}")

        _Delivery(courier, base_url, key).wait(report)
    if courier.error:
        raise courier.error
    fetched = Fetched(
        requests=len(wanted),
        from_ledger=len(stored) + courier.found,
        sent=courier.sent,
        prompt_tokens=courier.usage.prompt,
        completion_tokens=courier.usage.completion,
        usd=courier.usd,
        failures=courier.failures,
    )
    share, failed = config.llm.max_failures, len(fetched.failures)
    # One bad conversation alone stops nobody; nothing but bad ones does.
    if failed > max(1, share * fetched.requests) or (failed == fetched.requests and share < 1):
        raise TooManyFailures(_summary(fetched, config.llm.max_failures, stage))
    return fetched


class _Delivery(threading.Thread):
    """The courier's event loop in a thread of its own: the caller may have one, or none."""

    def __init__(self, courier: Courier, base_url: str, key: str) -> None:
        super().__init__(name="convrec-llm", daemon=True)
        self._courier, self._base_url, self._key = courier, base_url, key
        self._error: BaseException | None = None
        self._ready = threading.Event()

    def run(self) -> None:
        """Deliver, and keep for the caller what went wrong."""
        try:
            asyncio.run(self._deliver())
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()

    async def _deliver(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._courier.deliver(self._base_url, self._key))
        await asyncio.sleep(0)
        self._ready.set()
        await self._task

    def wait(self, report: Callable[[], None]) -> None:
        """Start, report until the end, and raise what went wrong; drain when interrupted."""
        self.start()
        try:
            while self.is_alive():
                self.join(0.2)
                report()
        except BaseException:
            self._drain()
            raise
        if self._error:
            raise self._error

    def _drain(self) -> None:
        self._ready.wait()
        try:
            self._call(self._courier.drain)
            while self.is_alive():
                self.join(0.2)
        except BaseException:
            self._call(self._task.cancel)
            self.join(10)
            raise

    def _call(self, what: Callable[[], object]) -> None:
        if self.is_alive() and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(what)


def _summary(fetched: Fetched, allowed: float, stage: str) -> str:
    reasons = Counter(fetched.failures.values()).most_common(3)
    listed = "; ".join(f"{count} × {reason}" for reason, count in reasons)
    failed = len(fetched.failures)
    return (
        f"{failed} of {fetched.requests} requests of {stage} failed "
        f"({failed / fetched.requests:.1%}, llm.max_failures allows {allowed:.1%}): {listed}; the "
        "answers that came are kept, so run again to try only those, or raise llm.max_failures"
    )
