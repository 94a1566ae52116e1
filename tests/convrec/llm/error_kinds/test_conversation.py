# ruff: noqa: E501 - messages as they come
"""Errors about one conversation."""

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
        "openrouter moderation",
        403,
        {
            "error": {
                "code": 403,
                "message": "m",
                "metadata": {"reasons": ["violence"], "flagged_input": "…"},
            }
        },
        "flagged",
    ),
    (
        "azure filter",
        400,
        {
            "error": {
                "message": "The response was filtered",
                "code": None,
                "status": 400,
                "innererror": {"code": "ResponsibleAIPolicyViolation"},
            }
        },
        "flagged",
    ),
    ("openai policy", 400, openai("no", code="content_policy_violation"), "flagged"),
    (
        "invalid prompt",
        400,
        openai(
            "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
            code="invalid_prompt",
        ),
        "flagged",
    ),
    (
        "xai",
        403,
        {
            "code": "The caller does not have permission",
            "error": "Content violates usage guidelines. Failed check: SAFETY",
        },
        "flagged",
    ),
    (
        "dashscope",
        400,
        openai("Input data may contain inappropriate content.", code="data_inspection_failed"),
        "flagged",
    ),
    ("gemini block", 200, {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}, "flagged"),
    (
        "raw moderation",
        502,
        {
            "error": {
                "message": "Provider returned error",
                "code": 502,
                "metadata": {
                    "raw": '{"error":{"message":"Output blocked by content filtering policy"}}'
                },
            }
        },
        "flagged",
    ),
    (
        "moonshot",
        400,
        openai(
            "The request was rejected because it was considered high risk", type="content_filter"
        ),
        "flagged",
    ),
    (
        "long",
        400,
        openai(
            "This model's maximum context length is 8192 tokens.", code="context_length_exceeded"
        ),
        "too_long",
    ),
    (
        "vllm long",
        400,
        {
            "object": "error",
            "message": "'max_tokens' or 'max_completion_tokens' is too large: 600. This model's maximum context length is 2048 tokens and your request has 1800 input tokens",
            "code": 400,
        },
        "too_long",
    ),
    (
        "vllm prompt",
        400,
        openai("The decoder prompt (length 5000) is longer than the maximum model length of 4096."),
        "too_long",
    ),
    (
        "llama.cpp",
        400,
        {
            "error": {
                "code": 400,
                "message": "the request exceeds the available context size (4096 tokens), try increasing it",
                "type": "exceed_context_size_error",
            }
        },
        "too_long",
    ),
    (
        "ollama long",
        400,
        {"error": "prompt too long; exceeded max context length by 12 tokens"},
        "too_long",
    ),
    ("claude", 400, openai("prompt is too long: 210000 tokens > 200000 maximum"), "too_long"),
    (
        "claude with limit",
        400,
        openai("input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000"),
        "too_long",
    ),
    (
        "openrouter long",
        400,
        openai(
            "This endpoint's maximum context length is 8192 tokens. However, you requested about 9000 tokens (8400 of text input, 600 in the output)."
        ),
        "too_long",
    ),
    (
        "gemini long",
        400,
        google(
            400,
            "INVALID_ARGUMENT",
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        ),
        "too_long",
    ),
    (
        "tgi",
        422,
        {
            "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 1900 `inputs` tokens and 600 `max_new_tokens`",
            "error_type": "validation",
        },
        "too_long",
    ),
    (
        "groq long",
        413,
        openai(
            "Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested 7000",
            code="rate_limit_exceeded",
        ),
        "too_long",
    ),
    (
        "openai too large",
        429,
        openai(
            "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 34000.",
            code="rate_limit_exceeded",
        ),
        "too_long",
    ),
    ("413", 413, HTML.format("413 Request Entity Too Large"), "too_long"),
]


@each_error(ERRORS)
@both_forms
def test_an_error_is_understood(status: int, body: object, kind: str, as_text: bool) -> None:
    assert_understood(status, body, kind, as_text)
