"""The budget of a run: a request is sent only if it cannot exceed `llm.max_usd`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from convrec.llm.prices import Usage
from convrec.llm.response_body import prompt_bytes

DEFAULT_MAX_COMPLETION = 4096
"""Completion tokens assumed for a request that sets no maximum."""


def max_usage(body: Mapping[str, Any], prompt_size: int | None = None) -> Usage:
    """An upper bound on the tokens of a request: 3 bytes per prompt token, longest completions.

    `prompt_size` is `prompt_bytes(body)`, if the caller has it already.
    """
    size = prompt_bytes(body) if prompt_size is None else prompt_size
    if "input" in body:
        return Usage(size // 3 + 8 * len(body["input"]), cached=0, completion=0)
    messages = body.get("messages")
    overhead = 16 + 8 * (len(messages) if isinstance(messages, list) else 1)
    prompt = math.ceil(size / 3) + overhead
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or DEFAULT_MAX_COMPLETION
    return Usage(prompt=prompt, cached=0, completion=int(limit) * int(body.get("n") or 1))


class Budget:
    """US dollars billed so far, plus the maximum cost of requests in flight."""

    def __init__(self, limit: float | None, spent: float = 0.0) -> None:
        self.limit, self.spent = limit, spent
        self._reserved = 0.0
        self._correction = 1.0
        """Largest ratio of a bill to the maximum cost that was assumed for it."""

    def allows(self, max_cost: float) -> bool:
        """Whether one more request of at most `max_cost` stays within the limit."""
        if self.limit is None:
            return True
        return self.spent + (self._reserved + max_cost) * self._correction <= self.limit

    def reserve(self, max_cost: float) -> None:
        """Count a request that is sent now."""
        self._reserved += max_cost

    def release(self, max_cost: float) -> None:
        """Count a request that has ended; `bill` has counted its cost."""
        self._reserved -= max_cost

    def bill(self, usd: float, max_cost: float) -> None:
        """Count the cost of a request. One above its `max_cost` raises later estimates."""
        self.spent += usd
        if max_cost:
            self._correction = max(self._correction, usd / max_cost)

    def exceeded_message(self, stage: str, max_cost: float) -> str:
        """Why the next request is not sent, and how to continue."""
        return (
            f"the next {stage} request could exceed llm.max_usd={self.limit:g}: "
            f"${self.spent:.6f} spent, and it may cost ${max_cost * self._correction:.6f}. "
            "All responses so far are stored; raise llm.max_usd and run again to continue"
        )
