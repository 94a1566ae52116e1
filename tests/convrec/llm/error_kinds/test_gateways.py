"""Errors of gateways and local servers: refusals of all requests, or of a busy moment."""

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
        "bedrock crowd",
        429,
        {"message": "Too many tokens, please wait before trying again."},
        "busy",
    ),
    ("bedrock day", 429, {"message": "Too many tokens per day, please wait."}, "daily"),
    ("one minute's limit", 429, openai("Request too large for the limit per minute."), "too_long"),
    (
        "bedrock starts",
        429,
        {"message": "The model specified in the request is not ready to serve requests."},
        "busy",
    ),
    ("a failed dependency", 424, {"error": "Request failed during generation"}, "busy"),
    ("flex tier", 498, openai("Flex tier is full", type="capacity"), "busy"),
    ("crashed", 400, {"error": "The model has crashed without additional information."}, "busy"),
    (
        "gemini zero",
        429,
        google(429, "RESOURCE_EXHAUSTED", "You exceeded your quota, limit: 0."),
        "quota",
    ),
    (
        "gemini prepaid",
        429,
        google(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."),
        "quota",
    ),
    ("claude limit", 400, openai("You have reached your specified API usage limits."), "quota"),
    (
        "ollama week",
        429,
        {"error": "you've reached your weekly usage limit, please upgrade"},
        "quota",
    ),
    (
        "mistral month",
        429,
        {"message": "Monthly quota exceeded.", "type": "quota_exceeded"},
        "quota",
    ),
    ("trial month", 429, {"message": "A trial key is limited to 1000 calls / month."}, "quota"),
    ("trial minute", 429, {"message": "A trial key is limited to 20 calls / minute."}, "busy"),
    ("neurons", 429, {"errors": [{"message": "you used up your daily free allocation"}]}, "daily"),
    ("detail in 200", 200, {"detail": "Could not validate credentials"}, "key"),
    (
        "minimax key",
        200,
        {"base_resp": {"status_code": 1004, "status_msg": "login fail: carry the key"}},
        "key",
    ),
    (
        "minimax filter",
        200,
        {"base_resp": {"status_code": 1026, "status_msg": "input new_sensitive"}},
        "flagged",
    ),
    ("terms", 400, openai("The model `x` requires terms acceptance."), "access"),
    ("not verified", 400, openai("Your organization must be verified to use this."), "access"),
    (
        "bedrock profile",
        400,
        {"message": "Invocation of model ID x with on-demand throughput isn't supported."},
        "model",
    ),
    ("paused", 400, {"error": "Bad Request: Endpoint is paused. Please resume it."}, "model"),
    ("no chat", 400, openai('"x" does not support chat', type="api_error"), "model"),
    ("no chat API", 400, openai("The model does not support Chat Completions API"), "model"),
    (
        "embedding model",
        400,
        openai("The operation does not work with the specified model, x."),
        "model",
    ),
    (
        "google's name",
        400,
        google(400, "INVALID_ARGUMENT", "unexpected model name format"),
        "model",
    ),
    ("no embeddings", 501, openai("This server does not support this."), "route"),
    ("lm studio path", 200, {"error": "Unexpected endpoint or method. (POST /chat)"}, "route"),
    ("azure version", 400, {"error": {"message": "API version not supported"}}, "route"),
    (
        "vllm parameter",
        400,
        openai(
            "You passed 4097 input tokens and requested 300 output tokens. However, the model's "
            "context length is only 4096 tokens.",
            param="input_tokens",
        ),
        "too_long",
    ),
    ("plain HTTP", 400, "Client sent an HTTP request to an HTTPS server.", "route"),
    ("nginx", 400, HTML.format("400 The plain HTTP request was sent to HTTPS port"), "route"),
    ("virtual key", 412, {"message": "API key usage limit exceeded"}, "quota"),
    ("gateway budget", 400, openai("Virtual key has exhausted its budget"), "quota"),
    ("no thinking", 400, openai("The model 'x' does not support thinking"), "model"),
    ("bad English", 200, {"status": "435", "msg": "model not support"}, "model"),
    ("context shift", 500, openai("context shift is disabled", type="server_error"), "too_long"),
    ("ollama says api_error", 400, openai("odd words", type="api_error"), "other"),
]


@each_error(ERRORS)
@both_forms
def test_an_error_is_understood(status: int, body: object, kind: str, as_text: bool) -> None:
    assert_understood(status, body, kind, as_text)
