"""Stop buying answers that cannot be used: how many of a fetch are unusable, and when to stop.

The answers are looked at after the first FIRST_LOOK and then after every LOOK_INTERVAL. Early on a
share says little, so a fetch stops before its end only if the unusable answers and failed requests
exceed `llm.max_failures` by three standard deviations, or what it allows of all requests. At its
end the share itself counts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from convrec.llm.answer import Answer
from convrec.llm.outcome import mask_key
from convrec.llm.requests import Request

FIRST_LOOK = 20
"""Answers after which a fetch is judged for the first time; no more are bought until then."""

LOOK_INTERVAL = 20
"""Answers between two later looks."""

SHOWN_CHARACTERS = 80
"""Characters of an unusable answer that a message shows."""


class Defect(NamedTuple):
    """Why an answer cannot be used, the setting to change, and the text of the answer."""

    reason: str
    advice: str
    text: str = ""

    def example(self, api_key: str = "") -> str:
        """`; one begins “…”`, on one line and without the API key; empty without a text."""
        line = " ".join(mask_key(self.text, api_key).split())
        if len(line) > SHOWN_CHARACTERS:
            line = line[:SHOWN_CHARACTERS].rstrip() + "…"
        return f"; one begins “{line}”" if line else ""


FindDefect = Callable[[Request, Mapping[str, Any]], Defect | None]
"""(request, response body) → why the answer cannot be used; None if it can."""


def no_defect(request: Request, response: Mapping[str, Any]) -> Defect | None:
    """Takes any answer."""
    return None


def ending_advice(answer: Answer, limit: str, max_tokens: int, model: str) -> str:
    """What to change if an answer ended at its limit or is empty; else an empty string.

    `limit` and `model` are the settings of the limit, now `max_tokens`, and of the model.
    """
    setting = f"Raise {limit} (now {max_tokens})"
    if answer.is_cut or "thinking" in answer.reason:
        return setting
    if answer.text is None and "empty" in answer.reason:
        return f"{setting}: the model may think first; or change {model}"
    return ""


def is_over(bad: int, total: int, allowed: float) -> bool:
    """Whether `bad` of `total` requests are more than the share `allowed`.

    A single one is always allowed, unless it is the only request.
    """
    return bad > max(1, allowed * total) or (0 < bad == total and allowed < 1)


def is_far_over(bad: int, seen: int, total: int, allowed: float) -> bool:
    """Whether `bad` of the first `seen` of `total` requests are too many to go on.

    They are if they exceed the share `allowed` by three standard deviations, or if they would be
    too many even if all others succeeded.
    """
    limit = allowed * seen + 3 * math.sqrt(allowed * (1 - allowed) * seen)
    return seen >= FIRST_LOOK and bad > max(1, min(limit, allowed * max(seen, total)))


class AnswerCheck:
    """Counts the answers of one fetch of `total` requests; while `is_due`, send nothing more.

    `settle` asks `decide`, which gets the number of failed requests, raises TooManyFailures if the
    answers are beyond help, and returns the US dollars that it spent to find out. `answers` and
    `unusable` start with those that were stored before.
    """

    def __init__(
        self,
        total: int,
        allowed: float,
        find_defect: FindDefect,
        decide: Callable[[int, float], float],
        *,
        answers: int = 0,
        unusable: int = 0,
    ) -> None:
        self.answers, self.unusable, self.failed = answers, unusable, 0
        self.is_due = False
        self._total, self._allowed = total, allowed
        self._find_defect, self._decide = find_defect, decide
        self._next_look = FIRST_LOOK

    def may_send(self, in_flight: int) -> bool:
        """Whether another request may be sent while `in_flight` are."""
        is_before_first = self._next_look == FIRST_LOOK
        return not is_before_first or self.answers + self.failed + in_flight < FIRST_LOOK

    def count_answer(self, request: Request, response: str) -> None:
        """Count an answer, given as raw JSON, and look if it is time to."""
        self.answers += 1
        self.unusable += self._find_defect(request, json.loads(response)) is not None
        self._look()

    def count_failure(self) -> None:
        """Count a request that failed for good."""
        self.failed += 1
        self._look()

    def settle(self, spent_usd: float) -> float:
        """Ask `decide` whether to go on; US dollars that this cost. Later looks are rarer."""
        usd = self._decide(self.failed, spent_usd)
        self.is_due = False
        self._next_look = 2 * (self.answers + self.failed)
        return usd

    def _look(self) -> None:
        seen = self.answers + self.failed
        if seen < self._next_look:
            return
        self._next_look = seen + LOOK_INTERVAL
        bad = self.unusable + self.failed
        # Requests that fail cost nothing; without unusable answers other rules stop the fetch.
        if self.unusable and is_far_over(bad, seen, self._total, self._allowed):
            self.is_due = True
