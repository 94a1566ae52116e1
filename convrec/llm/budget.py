"""The budget of a run: no call goes out that could cross `llm.max_usd`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from convrec.llm.client import prompt_bytes
from convrec.llm.prices import Usage

DEFAULT_MAX_COMPLETION = 4096
"""Completion tokens counted for a request that sets no maximum."""


def max_usage(body: Mapping[str, Any], read: int | None = None) -> Usage:
    """Tokens that one request cannot exceed: 3 bytes a prompt token, full completions.

    `read` is its `prompt_bytes`, where the caller has counted them.
    """
    read = prompt_bytes(body) if read is None else read
    if "input" in body:
        return Usage(read // 3 + 8 * len(body["input"]), cached=0, completion=0)
    messages = body.get("messages")
    overhead = 16 + 8 * (len(messages) if isinstance(messages, list) else 1)
    prompt = math.ceil(read / 3) + overhead
    most = body.get("max_completion_tokens") or body.get("max_tokens") or DEFAULT_MAX_COMPLETION
    return Usage(prompt=prompt, cached=0, completion=int(most) * int(body.get("n") or 1))


class Budget:
    """US dollars: what was billed, and what calls in flight may yet cost at their dearest."""

    def __init__(self, limit: float | None, spent: float = 0.0) -> None:
        self.limit, self.spent = limit, spent
        self._reserved = 0.0
        self._underrated = 1.0

    def bears(self, bound: float) -> bool:
        """Whether all that is in flight and a call of at most `bound` stay below the limit."""
        if self.limit is None:
            return True
        return self.spent + (self._reserved + bound) * self._underrated <= self.limit

    def reserve(self, bound: float) -> None:
        """A call goes out."""
        self._reserved += bound

    def release(self, bound: float) -> None:
        """A call has ended; what it cost was billed before."""
        self._reserved -= bound

    def bill(self, usd: float, bound: float) -> None:
        """Count what a call cost; one dearer than its bound teaches us that bounds are low."""
        self.spent += usd
        if bound:
            self._underrated = max(self._underrated, usd / bound)

    def refusal(self, stage: str, bound: float) -> str:
        """Why the next call does not go out, in one sentence."""
        return (
            f"the next call of {stage} could cross llm.max_usd={self.limit:g}: "
            f"${self.spent:.6f} spent, and it may cost ${bound * self._underrated:.6f}; everything "
            "paid for is kept, so raise llm.max_usd and run again to go on from here"
        )
