"""Client-side rate limits for requests and tokens.

Two token buckets for the configured limits (`llm.max_rpm`, `llm.max_tpm`) and two for the limits
in the endpoint's `x-ratelimit-*` headers. The slowest one decides; without any limit nothing waits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite

MINUTE = 60.0
BURST_SECONDS = 2.0
"""A configured bucket holds what refills in this many seconds."""

MAX_DURATION_LENGTH = 40
"""Characters of a duration in a header."""

_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"([\d.]+)(ms|s|m|h|d)")


class TokenBucket:
    """Refills at `rate` units per second up to `capacity`; a rate of 0 means no limit."""

    def __init__(self, per_minute: int | None, now: float) -> None:
        self.rate = (per_minute or 0) / MINUTE
        self.capacity = max(1.0, self.rate * BURST_SECONDS)
        self._level = self.capacity
        self._updated_at = now

    def delay(self, units: float, now: float) -> float:
        """Seconds until `units` are available; more than the capacity needs a full bucket."""
        if not self.rate:
            return 0.0
        return max(0.0, (min(units, self.capacity) - self._level_at(now)) / self.rate)

    def take(self, units: float, now: float) -> None:
        """Remove units; the level may become negative."""
        self._level, self._updated_at = self._level_at(now) - units, now

    def update(self, limit: float, remaining: float, reset: float, now: float) -> None:
        """Adopt the endpoint's state: `remaining` of `limit` now, full in `reset` seconds."""
        if limit <= 0 or reset <= 0 or remaining >= limit:
            return
        level = self._level_at(now) if self.rate else remaining
        self.rate, self.capacity = (limit - remaining) / reset, limit
        self._level, self._updated_at = min(level, remaining), now

    def _level_at(self, now: float) -> float:
        return min(self.capacity, self._level + (now - self._updated_at) * self.rate)


class RateLimiter:
    """The limits of one endpoint. Times are seconds of one monotonic clock."""

    def __init__(self, max_rpm: int | None, max_tpm: int | None, now: float) -> None:
        self._configured = {
            "requests": TokenBucket(max_rpm, now),
            "tokens": TokenBucket(max_tpm, now),
        }
        self._reported = {"requests": TokenBucket(None, now), "tokens": TokenBucket(None, now)}

    def delay(self, tokens: float, now: float) -> float:
        """Seconds until a request of `tokens` (prompt and longest completion) may be sent."""
        return max(
            bucket.delay(units, now)
            for buckets in (self._configured, self._reported)
            for bucket, units in ((buckets["requests"], 1.0), (buckets["tokens"], tokens))
        )

    def take(self, tokens: float, now: float) -> None:
        """Count a request that is sent now."""
        for buckets in (self._configured, self._reported):
            buckets["requests"].take(1.0, now)
            buckets["tokens"].take(tokens, now)

    def update(self, headers: Mapping[str, str], now: float) -> None:
        """Adopt `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, if present and valid."""
        for unit, bucket in self._reported.items():
            try:
                limit, remaining = (
                    parse_number(headers[f"x-ratelimit-{name}-{unit}"])
                    for name in ("limit", "remaining")
                )
                reset = parse_duration(headers[f"x-ratelimit-reset-{unit}"])
            except (KeyError, ValueError):
                continue
            bucket.update(limit, remaining, reset, now)


def parse_duration(text: str) -> float:
    """Seconds of a duration such as `120ms`, `6m0s`, `1h2m3s` or `8.64`.

    Raises ValueError for other texts.
    """
    parts = _PART.findall(text) if len(text) <= MAX_DURATION_LENGTH else []
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    return parse_number(text)


def parse_number(text: str) -> float:
    """A number in a header. Raises ValueError if it is not a finite number."""
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


def format_duration(seconds: float) -> str:
    """Seconds as text: `40 s`, `12 min` or `3 h 20 min`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
