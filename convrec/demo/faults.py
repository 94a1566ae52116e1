"""Faults and rate limits that the demo server simulates on request."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from convrec.errors import InputError

FAULTS = ("429", "500", "drop", "timeout", "garbage", "truncate", "empty")
BATCH_FAULTS = ("batch_expired", "batch_failed", "batch_cancelled")


@dataclass
class Faults:
    """Fault → share of requests (or batches) that meet it, drawn at each attempt from `seed`.

    `latency_ms` delays every response.
    """

    shares: Mapping[str, float] = field(default_factory=dict)
    latency_ms: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    @classmethod
    def parse(cls, text: str, *, latency_ms: float = 0.0, seed: int = 0) -> Faults:
        """Parse `429:0.1,drop:0.05`. Raises InputError for unknown faults and invalid shares."""
        shares: dict[str, float] = {}
        for part in filter(None, text.split(",")):
            name, _, share = part.strip().partition(":")
            try:
                shares[name] = float(share)
            except ValueError:
                shares[name] = -1.0
            is_known = name in FAULTS or name in BATCH_FAULTS
            totals = (
                sum(share for fault, share in shares.items() if fault in group)
                for group in (FAULTS, BATCH_FAULTS)
            )
            if not is_known or not 0 <= shares[name] <= 1 or max(totals) > 1:
                raise InputError(
                    f"fault {part!r} is invalid. Use NAME:SHARE with a NAME of "
                    f"{', '.join(FAULTS + BATCH_FAULTS)} and shares that sum to at most 1"
                )
        return cls(shares, latency_ms, seed)

    def draw(self) -> str:
        """The fault that the next request meets; empty for none."""
        return self.draw_from(self._random)

    def draw_from(self, rng: random.Random, names: Collection[str] = FAULTS) -> str:
        """One of the named faults, drawn with `rng`; empty for none."""
        point = rng.random()
        for name in names:
            point -= self.shares.get(name, 0.0)
            if point < 0:
                return name
        return ""

    def draw_seed(self) -> int:
        """A seed for the lines of one batch."""
        return self._random.getrandbits(32)

    def draw_batch(self) -> str:
        """The fault that the next batch meets; empty for none."""
        return self.draw_from(self._random, BATCH_FAULTS)


class Limits:
    """Limits of requests and tokens per minute, reported in headers as OpenAI does."""

    def __init__(self, rpm: int | None, tpm: int | None) -> None:
        self._limits = {"requests": rpm, "tokens": tpm}
        self._levels = {name: float(limit or 0) for name, limit in self._limits.items()}
        self._updated_at = time.monotonic()

    def wait(self, body: Any) -> float:
        """Seconds until this request is allowed; at 0 it is counted."""
        now = time.monotonic()
        needs = {"requests": 1.0, "tokens": _max_tokens(body)}
        waits = [0.0]
        for name, limit in self._limits.items():
            if limit:
                level = self._levels[name] + (now - self._updated_at) * limit / 60
                self._levels[name] = min(float(limit), level)
                shortfall = min(needs[name], float(limit)) - self._levels[name]
                waits.append(60 * shortfall / limit)
        self._updated_at = now
        if max(waits) <= 0:
            for name, need in needs.items():
                self._levels[name] -= need
        return max(waits)

    def headers(self) -> dict[str, str]:
        """The current `x-ratelimit-*` headers."""
        headers = {}
        for name, limit in self._limits.items():
            if limit:
                level = self._levels[name]
                reset = 60_000 * (limit - level) / limit
                headers[f"x-ratelimit-limit-{name}"] = str(limit)
                headers[f"x-ratelimit-remaining-{name}"] = str(max(0, int(level)))
                headers[f"x-ratelimit-reset-{name}"] = f"{reset:.0f}ms"
        return headers


def _max_tokens(body: Any) -> float:
    if not isinstance(body, dict):
        return 1.0
    completion = body.get("max_completion_tokens") or body.get("max_tokens") or 0
    prompt = body.get("messages", body.get("input"))
    return len(json.dumps(prompt)) / 4 + int(completion)
