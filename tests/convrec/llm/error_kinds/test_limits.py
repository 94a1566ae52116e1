"""Errors about limits that pass, or that last for today."""

from __future__ import annotations

from tests.support.error_bodies import (
    HTML,
    ErrorCase,
    assert_understood,
    both_forms,
    each_error,
    google,
    openai,
)

ERRORS: list[ErrorCase] = [
    (
        "gemini minute",
        429,
        google(
            429,
            "RESOURCE_EXHAUSTED",
            "You exceeded your current quota, please check your plan and billing details.",
            {"@type": "RetryInfo", "retryDelay": "32s"},
        ),
        "busy",
    ),
    (
        "gemini day",
        429,
        google(
            429,
            "RESOURCE_EXHAUSTED",
            "You exceeded your current quota",
            {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]},
            {"retryDelay": "12s"},
        ),
        "daily",
    ),
    ("openrouter day", 429, openai("Rate limit exceeded: free-models-per-day", code=429), "daily"),
    (
        "groq day",
        429,
        openai(
            "Rate limit reached on tokens per day (TPD): Limit 100000. Please try again in 2m3.5s.",
            code="rate_limit_exceeded",
        ),
        "busy",
    ),
    ("word in 200", 200, {"error": {"code": "rate_limit_exceeded", "message": "slow"}}, "busy"),
    ("429 in 400", 400, openai("slow down", code=429), "busy"),
    (
        "anthropic overloaded",
        529,
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        "busy",
    ),
    (
        "overloaded in 200",
        200,
        {"error": {"type": "overloaded_error", "message": "Overloaded"}},
        "busy",
    ),
    ("loading", 503, {"error": "Model x is currently loading", "estimated_time": 20.5}, "busy"),
    ("loading at 400", 400, {"error": "Loading model"}, "busy"),
    (
        "cooldown",
        429,
        openai("No deployments available for selected model, Try again in 5 seconds"),
        "busy",
    ),
    ("bad gateway", 502, HTML.format("502 Bad Gateway"), "busy"),
    ("server key", 500, openai("upstream: invalid api key"), "busy"),
]


@each_error(ERRORS)
@both_forms
def test_an_error_is_understood(status: int, body: object, kind: str, as_text: bool) -> None:
    assert_understood(status, body, kind, as_text)
