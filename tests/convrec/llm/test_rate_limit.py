from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from starlette.responses import JSONResponse

from convrec.artifacts import Store
from convrec.demo import server
from convrec.demo.faults import Limits
from convrec.llm.fetch import fetch
from convrec.llm.rate_limit import RateLimiter, parse_duration
from tests.support.demo_endpoint import serve_in_thread
from tests.support.llm_endpoint import Endpoint, completion, config, make_request


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1s", 1), ("6m0s", 360), ("120ms", 0.12), ("1h2m3s", 3723), ("8.64s", 8.64), ("30", 30)],
)
def test_durations_are_parsed_in_every_format(text: str, expected: float) -> None:
    assert parse_duration(text) == pytest.approx(expected)


def test_invalid_durations_are_refused() -> None:
    with pytest.raises(ValueError, match="soon"):
        parse_duration("soon")


def test_without_limits_nothing_waits() -> None:
    limiter = RateLimiter(None, None, 0.0)
    for _ in range(100):
        limiter.take(1e6, 0.0)
    assert limiter.delay(1e6, 0.0) == 0


def test_configured_requests_per_minute_are_spread() -> None:
    limiter = RateLimiter(60, None, 0.0)  # one a second, two at once after a rest
    limiter.take(1, 0.0)
    assert limiter.delay(1, 0.0) == 0
    limiter.take(1, 0.0)
    assert limiter.delay(1, 0.0) == pytest.approx(1)
    assert limiter.delay(1, 0.4) == pytest.approx(0.6)
    assert limiter.delay(1, 1.0) == 0


def test_a_request_above_the_capacity_needs_a_full_bucket() -> None:
    limiter = RateLimiter(None, 600, 0.0)  # ten tokens a second, twenty at once
    assert limiter.delay(500, 0.0) == 0
    limiter.take(500, 0.0)
    assert limiter.delay(10, 0.0) == pytest.approx(49)


def test_limits_in_headers_are_adopted() -> None:
    limiter = RateLimiter(None, None, 0.0)
    headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1m0s",
        "x-ratelimit-limit-tokens": "not a number",
        "x-ratelimit-remaining-tokens": "5",
        "x-ratelimit-reset-tokens": "1s",
    }
    limiter.update(headers, 0.0)
    assert limiter.delay(1, 0.0) == pytest.approx(1)
    assert limiter.delay(1, 1.0) == 0
    limiter.update(
        {**headers, "x-ratelimit-remaining-requests": "59", "x-ratelimit-reset-requests": "1s"},
        10.0,
    )
    assert limiter.delay(1, 10.0) == 0


def test_requests_respect_the_limits_of_an_endpoint(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    with log.open("w") as file:
        limits = Limits(rpm=600, tpm=None)
        limits._levels["requests"] = 5.0  # the rest of the minute's worth is used up
        app = server.create_app(
            lambda body: completion(), ["demo-teacher"], log=file, limits=limits
        )
        requests = [make_request(n) for n in range(25)]
        with serve_in_thread(app) as url:
            started = time.monotonic()
            fetched = fetch(requests, config=config(url), store=store, stage="recommend")
            elapsed = time.monotonic() - started
    assert (fetched.sent, fetched.failures) == (25, {})
    assert elapsed >= 1.8
    outcomes = [json.loads(line)["outcome"] for line in log.read_text().splitlines()]
    assert outcomes.count("200") == 25
    assert outcomes.count("429") <= 16  # requests sent before the limit was known


def test_configured_limits_hold(store: Store, endpoint: Endpoint) -> None:
    endpoint.reply = lambda body: JSONResponse(completion())
    started = time.monotonic()
    settings = config(endpoint, max_rpm=600)
    fetch([make_request(n) for n in range(30)], config=settings, store=store, stage="recommend")
    assert time.monotonic() - started >= 0.9
