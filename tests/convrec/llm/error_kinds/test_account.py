"""Errors about the key, the account, the region or credit."""

from __future__ import annotations

from tests.support.error_bodies import (
    ErrorCase,
    assert_understood,
    both_forms,
    each_error,
    google,
    openai,
)

ERRORS: list[ErrorCase] = [
    (
        "openai key",
        401,
        openai("Incorrect API key provided: sk-ab**yz", code="invalid_api_key"),
        "key",
    ),
    ("vllm key", 401, {"error": "Unauthorized"}, "key"),
    (
        "gemini key",
        400,
        google(
            400,
            "INVALID_ARGUMENT",
            "API key not valid. Please pass a valid API key.",
            {"reason": "API_KEY_INVALID"},
        ),
        "key",
    ),
    ("openrouter key", 200, {"error": {"code": 401, "message": "User not found."}}, "key"),
    ("text", 403, "Invalid API key", "key"),
    (
        "azure key",
        401,
        {"statusCode": 401, "message": "Access denied due to invalid subscription key."},
        "key",
    ),
    (
        "anthropic",
        403,
        {"type": "error", "error": {"type": "permission_error", "message": "no"}},
        "access",
    ),
    (
        "region",
        403,
        openai(
            "Country, region, or territory not supported",
            code="unsupported_country_region_territory",
        ),
        "access",
    ),
    (
        "gemini region",
        400,
        google(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
        "access",
    ),
    (
        "suspended for what it asked",
        403,
        openai("Your account was suspended for violating our usage policies."),
        "access",
    ),
    (
        "google service",
        403,
        google(403, "PERMISSION_DENIED", "no", {"reason": "SERVICE_DISABLED"}),
        "access",
    ),
    (
        "openai quota",
        429,
        openai(
            "You exceeded your current quota, please check your plan and billing details.",
            code="insufficient_quota",
        ),
        "quota",
    ),
    (
        "quota by words",
        429,
        {"message": "You exceeded your current quota, please check your plan"},
        "quota",
    ),
    ("402", 402, {"detail": "no more"}, "quota"),
    ("402 in 200", 200, {"choices": None, "error": {"code": "402", "message": "pay"}}, "quota"),
    ("anthropic credit", 400, openai("Your credit balance is too low to access the API."), "quota"),
    ("deepseek", 402, openai("Insufficient Balance", code="invalid_request_error"), "quota"),
    (
        "reseller",
        403,
        {"error": {"message": "user quota is not enough", "code": "insufficient_user_quota"}},
        "quota",
    ),
    (
        "minimax",
        200,
        {"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}},
        "quota",
    ),
    (
        "litellm",
        400,
        {
            "error": {
                "message": "Budget has been exceeded! Current cost: 3",
                "type": "budget_exceeded",
            }
        },
        "quota",
    ),
]


@each_error(ERRORS)
@both_forms
def test_an_error_is_understood(status: int, body: object, kind: str, as_text: bool) -> None:
    assert_understood(status, body, kind, as_text)
