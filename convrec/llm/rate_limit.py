"""Pace: how many requests and tokens the endpoint lets through, learned as we go.

Two token buckets, one for requests and one for tokens. Each is set by the configuration
(`llm.max_rpm`, `llm.max_tpm`), by the endpoint's `x-ratelimit-*` headers, or both, and the slower
one counts. Without either nothing is held back.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite

MINUTE = 60.0
BURST_SECONDS = 2.0
"""Seconds of a configured rate that may go at once after a rest."""

_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"([\d.]+)(ms|s|m|h|d)")
MAX_DURATION_LENGTH = 40
"""Characters of a duration."""


class TokenBucket:
    """Units that refill at `rate` a second up to `capacity`; a rate of 0 is no limit."""

    def __init__(self, per_minute: int | None, now: float) -> None:
        self.rate = (per_minute or 0) / MINUTE
        self.capacity = max(1.0, self.rate * BURST_SECONDS)
        self._level = self.capacity
        self._at = now

    def delay(self, units: float, now: float) -> float:
        """Seconds until `units` are there; more than the capacity waits for a full bucket."""
        if not self.rate:
            return 0.0
        return max(0.0, (min(units, self.capacity) - self._filled(now)) / self.rate)

    def take(self, units: float, now: float) -> None:
        """Take units out; what is more than there is is owed."""
        self._level, self._at = self._filled(now) - units, now

    def learn(self, limit: float, remaining: float, reset: float, now: float) -> None:
        """Believe the endpoint: `remaining` of `limit` now, and all of it in `reset` seconds."""
        if limit <= 0 or reset <= 0 or remaining >= limit:
            return
        ours = self._filled(now) if self.rate else remaining
        self.rate, self.capacity = (limit - remaining) / reset, limit
        self._level, self._at = min(ours, remaining), now

    def _filled(self, now: float) -> float:
        return min(self.capacity, self._level + (now - self._at) * self.rate)


class RateLimiter:
    """The limits of one endpoint. Times are seconds of one monotonic clock."""

    def __init__(self, max_rpm: int | None, max_tpm: int | None, now: float) -> None:
        self._set = {"requests": TokenBucket(max_rpm, now), "tokens": TokenBucket(max_tpm, now)}
        self._told = {"requests": TokenBucket(None, now), "tokens": TokenBucket(None, now)}

    def delay(self, tokens: float, now: float) -> float:
        """Seconds until a request of `tokens` (prompt and most of completion) may go."""
        return max(
            bucket.delay(units, now)
            for buckets in (self._set, self._told)
            for bucket, units in ((buckets["requests"], 1.0), (buckets["tokens"], tokens))
        )

    def take(self, tokens: float, now: float) -> None:
        """Count a request that goes out now."""
        for buckets in (self._set, self._told):
            buckets["requests"].take(1.0, now)
            buckets["tokens"].take(tokens, now)

    def learn(self, headers: Mapping[str, str], now: float) -> None:
        """Read `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, where they are."""
        for what, bucket in self._told.items():
            try:
                limit, remaining = (
                    parse_number(headers[f"x-ratelimit-{name}-{what}"])
                    for name in ("limit", "remaining")
                )
                reset = parse_duration(headers[f"x-ratelimit-reset-{what}"])
            except (KeyError, ValueError):
                continue
            bucket.learn(limit, remaining, reset, now)


def parse_duration(text: str) -> float:
    """A duration as endpoints write it (`120ms`, `6m0s`, `1h2m3s`, `8.64`), in seconds.

    Raises ValueError for anything else.
    """
    parts = _PART.findall(text) if len(text) <= MAX_DURATION_LENGTH else []
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    return parse_number(text)


def parse_number(text: str) -> float:
    """A number as endpoints write it. Raises ValueError for anything else, and for no end."""
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"{text} is no number")
    return value
