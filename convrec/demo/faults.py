"""What the demo server does on demand: faults, drawn from a seed, and rate limits."""

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
    """Which share of requests meets which fault, drawn anew at each attempt from `seed`.

    `batch_expired`, `batch_failed` and `batch_cancelled` are shares of batches.
    """

    shares: Mapping[str, float] = field(default_factory=dict)
    latency_ms: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    @classmethod
    def parse(cls, text: str, *, latency_ms: float = 0.0, seed: int = 0) -> Faults:
        """Read `429:0.1,drop:0.05`. Raises InputError for an unknown fault or a share above 1."""
        shares: dict[str, float] = {}
        for part in filter(None, text.split(",")):
            name, _, share = part.strip().partition(":")
            try:
                shares[name] = float(share)
            except ValueError:
                shares[name] = -1.0
            groups = [[n for n in shares if n in names] for names in (FAULTS, BATCH_FAULTS)]
            known = name in FAULTS or name in BATCH_FAULTS
            most = max(sum(shares[n] for n in group) for group in groups)
            if not known or not 0 <= shares[name] <= 1 or most > 1:
                raise InputError(
                    f"fault {part!r} cannot be used: give NAME:SHARE with NAME one of "
                    f"{', '.join(FAULTS + BATCH_FAULTS)} and shares that add up to at most 1"
                )
        return cls(shares, latency_ms, seed)

    def draw(self) -> str:
        """The fault that the next request meets; empty for none."""
        return self.draw_from(self._random)

    def draw_from(self, rng: random.Random, names: Collection[str] = FAULTS) -> str:
        """The fault that `rng` draws of those named; empty for none."""
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
    """Requests and tokens a minute that the server lets through, as OpenAI's headers tell them."""

    def __init__(self, rpm: int | None, tpm: int | None) -> None:
        now = time.monotonic()
        self._limits = {"requests": rpm, "tokens": tpm}
        self._levels = {name: float(limit or 0) for name, limit in self._limits.items()}
        self._at = now

    def wait(self, body: Any) -> float:
        """Seconds until this request may go; it is let through, and counted, at 0."""
        now = time.monotonic()
        needs = {"requests": 1.0, "tokens": self._tokens(body)}
        waits = [0.0]
        for name, limit in self._limits.items():
            if limit:
                grown = self._levels[name] + (now - self._at) * limit / 60
                self._levels[name] = min(float(limit), grown)
                short = min(needs[name], float(limit)) - self._levels[name]
                waits.append(60 * short / limit)
        self._at = now
        if max(waits) <= 0:
            for name, need in needs.items():
                self._levels[name] -= need
        return max(waits)

    def headers(self) -> dict[str, str]:
        """The `x-ratelimit-*` headers, as things stand."""
        told = {}
        for name, limit in self._limits.items():
            if limit:
                level = self._levels[name]
                reset = 60_000 * (limit - level) / limit
                told[f"x-ratelimit-limit-{name}"] = str(limit)
                told[f"x-ratelimit-remaining-{name}"] = str(max(0, int(level)))
                told[f"x-ratelimit-reset-{name}"] = f"{reset:.0f}ms"
        return told

    @staticmethod
    def _tokens(body: Any) -> float:
        if not isinstance(body, dict):
            return 1.0
        most = body.get("max_completion_tokens") or body.get("max_tokens") or 0
        read = body.get("messages", body.get("input"))
        return len(json.dumps(read)) / 4 + int(most)
