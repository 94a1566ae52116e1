# ruff: noqa: E501 - messages as they come
"""Errors wrapped in the text of another error."""

from __future__ import annotations

from tests.support.error_bodies import (
    ErrorCase,
    assert_understood,
    both_forms,
    each_error,
    openai,
)

ERRORS: list[ErrorCase] = [
    (
        "repr in a 500",
        500,
        {
            "detail": "failed: Error code: 400 - {'error': {'message': 'no', 'code': 'content_filter'}}"
        },
        "flagged",
    ),
    (
        "tagged text",
        400,
        openai("Upstream request failed: [data_inspection_failed] <400> InternalError"),
        "flagged",
    ),
    (
        "litellm",
        500,
        openai(
            'litellm.RateLimitError: AzureException - {"error": {"code": "429", "message": "x"}}'
        ),
        "busy",
    ),
    ("dots and colons", 400, {"error": 'model "llama3.2:1b-q4.gguf" not found'}, "model"),
    (
        "no provider has it",
        400,
        {"error": "The requested model 'meta-llama/Llama-3.1-8B' is not supported by any provider"},
        "model",
    ),
    ("loading a dotted name", 400, openai("Model llama3.1:8b is currently loading"), "busy"),
    (
        "openai per minute",
        429,
        openai(
            "Rate limit reached for gpt-4.1 in organization org-x on tokens per min (TPM): Limit "
            "30000, Used 29000, Requested 2000. Please try again in 2s. Visit our site.",
            code="rate_limit_exceeded",
        ),
        "busy",
    ),
    (
        "not active",
        429,
        openai("Your account is not active, check your billing", code="billing_not_active"),
        "quota",
    ),
]


@each_error(ERRORS)
@both_forms
def test_an_error_is_understood(status: int, body: object, kind: str, as_text: bool) -> None:
    assert_understood(status, body, kind, as_text)
