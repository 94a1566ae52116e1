"""Fetching the LLM responses that a step still misses: live, in batches, or from a paid file.

A stage whose answers cannot be used does not end as completed, and it stops before it has bought
all of them: see `convrec.llm.answer_check`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from convrec.config import Config
from convrec.errors import InputError, TooManyFailures
from convrec.llm.answer_check import FIRST_LOOK, AnswerCheck, Defect, is_far_over, is_over
from convrec.llm.fetch import FetchResult, await_batches, fetch
from convrec.llm.import_responses import import_batch_output
from convrec.llm.requests import Request
from convrec.llm.response_store import ResponseStore
from convrec.stages.base import AnswerQuality, ResponseSource, Step, StepContext
from convrec.utils.progress import Progress

MAX_ROWS = 1000
"""Unusable answers that an error lists."""


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

    Raises EndpointError, BudgetExceeded, InputError for an unusable file and for one that has no
    response to this run's requests, or TooManyFailures if requests failed or answers cannot be
    used, together more than `llm.max_failures` allows.
    """
    if step.responses is None:
        raise ValueError(f"the step of {step.kind} reads no LLM responses")
    return _StageFetch(step, step.responses, ctx, run, spent_usd, progress, key).fetch()


def answer_source(step: Step, config: Config) -> str:
    """Where the answers of a step come from: `live`, `batch`, or a source without requests."""
    sources = {
        "teacher_lists": config.recommend.source,
        "descriptions": config.remap.describe_source,
        "judgments": config.reflect.source,
    }
    return sources.get(step.kind, "live")


@dataclass
class _StageFetch:
    """One fetch of a step's responses; `repaired` are the repairs so far."""

    step: Step
    source: ResponseSource
    ctx: StepContext
    run: str
    spent_usd: float
    progress: Progress
    key: str
    total: int = 0
    repaired: FetchResult = field(default_factory=FetchResult)
    at_start: AnswerQuality = field(default_factory=AnswerQuality)

    def fetch(self) -> FetchResult:
        source, ctx = self.source, self.ctx
        source.index_stored(ctx)
        if batched := source.open_batch_requests(ctx):
            self._await_batches(batched)
            source.index_stored(ctx)
        requests = source.requests(ctx)
        if self._is_replay:
            fetched = self._replay(requests)
            self._refuse_at_end({})
            return fetched
        answered = source.answered_count(ctx)
        self.total = len(requests) + answered
        check = self._check_stored()
        try:
            fetched = self._send(
                requests, answer_source(self.step, ctx.config), self.spent_usd, check=check
            )
        finally:  # a fetch that stopped has bought responses too
            source.record(ctx)
        self._send_repairs(fetched.usd)
        self._refuse_at_end(fetched.reasons)
        return fetched + self.repaired + FetchResult(requests=answered, from_ledger=answered)

    @property
    def _is_replay(self) -> bool:
        return self.step.stage == "recommend" and self.ctx.config.recommend.source == "replay"

    def _send(
        self,
        requests: Collection[Request],
        mode: str,
        spent: float,
        *,
        config: Config | None = None,
        check: AnswerCheck | None = None,
    ) -> FetchResult:
        return fetch(
            requests,
            config=config or self.ctx.config,
            store=self.ctx.store,
            stage=self.step.stage,
            run=self.run,
            source=mode,
            key=self.key,
            progress=self.progress,
            spent_usd=spent,
            check=check,
        )

    def _await_batches(self, requests: Collection[Request]) -> None:
        await_batches(
            requests,
            config=self.ctx.config,
            store=self.ctx.store,
            stage=self.step.stage,
            run=self.run,
            key=self.key,
            progress=self.progress,
        )

    def _replay(self, requests: Collection[Request]) -> FetchResult:
        path = Path(self.ctx.config.recommend.replay)
        imported = import_batch_output(
            path, requests, self.ctx.store, find_defect=self._find_defect
        )
        if imported.failures and not imported.matched:
            raise InputError(
                f"no line of {path} names a conversation of this run: `custom_id` must be the id "
                f"of one, such as {next(iter(requests)).owner!r}, or a request key of ours; set "
                "recommend.replay to the output file of the batch that asked about them"
            )
        return imported

    def _send_repairs(self, spent: float) -> float:
        """Send the repairs that have no response yet; US dollars that they cost."""
        repairs = self.source.repairs(self.ctx)
        if not repairs:
            return 0.0
        # A handful: one that fails is a failed context and says nothing about the endpoint.
        lenient = self.ctx.config.llm.model_copy(update={"max_failures": 1.0})
        config = self.ctx.config.model_copy(update={"llm": lenient})
        earlier = self.repaired
        sent = self._send(repairs, "live", self.spent_usd + spent + earlier.usd, config=config)
        # All repairs again: those that were bought before are in the store now.
        bought = earlier.requests - earlier.from_ledger - len(earlier.failures)
        self.repaired = replace(
            earlier + sent,
            requests=sent.requests,
            from_ledger=sent.from_ledger - bought,
            failures=sent.failures,
            reasons=sent.reasons,
        )
        return sent.usd

    # -- answers that cannot be used -----------------------------------------------------------

    def _check_stored(self) -> AnswerCheck | None:
        """The check of the answers to come; None if any answer can be used.

        Raises TooManyFailures if those that are stored cannot be used.
        """
        quality = self.source.quality(self.ctx)
        if quality is not None and self._is_far_over(quality):
            self._send_repairs(0.0)
            quality = self.source.quality(self.ctx)
        if quality is None:
            return None
        if self._is_far_over(quality):
            raise self._too_many(quality, 0)
        self.at_start = quality
        # What is stored counts until there is enough to judge; then this fetch counts alone.
        few = quality.answers < FIRST_LOOK
        return AnswerCheck(
            self.total,
            self.ctx.config.llm.max_failures,
            self._find_defect,
            self._decide,
            answers=quality.answers if few else 0,
            unusable=len(quality.unusable) if few else 0,
        )

    def _find_defect(self, request: Request, response: Mapping[str, Any]) -> Defect | None:
        return self.source.find_defect(self.ctx, request, response)

    def _decide(self, failed: int, spent: float) -> float:
        """Send the repairs, and refuse to go on if they do not help; US dollars that they cost."""
        self.source.record(self.ctx)
        usd = self._send_repairs(spent)
        now, start = self.source.quality(self.ctx) or AnswerQuality(), self.at_start
        new = {key: why for key, why in now.unusable.items() if key not in start.unusable}
        for quality in (now, AnswerQuality(now.answers - start.answers, new)):
            if self._is_far_over(quality, failed):
                raise self._too_many(quality, failed)
        return usd

    def _is_far_over(self, quality: AnswerQuality, failed: int = 0) -> bool:
        bad, seen = len(quality.unusable) + failed, quality.answers + failed
        allowed = self.ctx.config.llm.max_failures
        return bool(quality.unusable) and is_far_over(bad, seen, self.total, allowed)

    def _refuse_at_end(self, failures: Mapping[str, str]) -> None:
        """Raise TooManyFailures if too many answers cannot be used or have failed."""
        quality = self.source.quality(self.ctx)
        if quality is None or not quality.unusable:
            return
        bad, total = len(quality.unusable) + len(failures), quality.answers + len(failures)
        if is_over(bad, total, self.ctx.config.llm.max_failures):
            raise self._too_many(quality, len(failures))

    def _too_many(self, quality: AnswerQuality, failed: int) -> TooManyFailures:
        """The error that shows one of the unusable answers and names the setting to change."""
        ((reason, _),) = Counter(quality.unusable.values()).most_common(1)
        keys = sorted(quality.unusable, key=lambda key: quality.unusable[key] != reason)
        exchanges = ResponseStore(self.ctx.store).exchanges(keys[:MAX_ROWS])
        defect = self._find_defect(*exchanges[keys[0]]) or Defect(reason, "")
        advice = "Choose another file in recommend.replay" if self._is_replay else defect.advice
        bad, allowed = len(quality.unusable), self.ctx.config.llm.max_failures
        share = (bad + failed) / (quality.answers + failed)
        also = f", and {failed} requests failed" if failed else ""
        reason = defect.reason.removesuffix("; raise max_tokens")
        api_key = self.key or os.environ.get("OPENAI_API_KEY", "")
        return TooManyFailures(
            f"{bad} of {quality.answers} answers of {self.step.stage} cannot be used{also} "
            f"({share:.1%}, llm.max_failures allows {allowed:.1%}): {reason}"
            f"{defect.example(api_key)}. "
            f"{advice} and run again, or raise llm.max_failures to go on without them. All "
            "answers are stored",
            rows=[(exchanges[k][0].owner, quality.unusable[k]) for k in keys if k in exchanges],
        )
