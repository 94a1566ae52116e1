"""Errors about the model."""

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
    ("openai model", 404, openai("The model `x` does not exist", code="model_not_found"), "model"),
    (
        "vllm model",
        404,
        {
            "object": "error",
            "message": "The model `x` does not exist.",
            "type": "NotFoundError",
            "code": 404,
        },
        "model",
    ),
    (
        "ollama model",
        404,
        openai('model "llama9" not found, try pulling it first', type="api_error"),
        "model",
    ),
    (
        "azure",
        404,
        {
            "error": {
                "code": "DeploymentNotFound",
                "message": "The API deployment for this resource does not exist.",
            }
        },
        "model",
    ),
    (
        "openrouter id",
        400,
        {"error": {"message": "x/y is not a valid model ID", "code": 400}},
        "model",
    ),
    (
        "mistral",
        400,
        {"object": "error", "message": "Invalid model: x", "type": "invalid_model", "code": "1500"},
        "model",
    ),
    ("deepseek model", 400, openai("Model Not Exist"), "model"),
    (
        "lm studio",
        400,
        {"error": "No models loaded. Please load a model in the developer page."},
        "model",
    ),
    (
        "gemini model",
        404,
        google(404, "NOT_FOUND", "models/x is not found for API version v1main"),
        "model",
    ),
    (
        "retired",
        400,
        openai("The model `x` has been decommissioned and is no longer supported."),
        "model",
    ),
    ("no provider", 404, openai("No endpoints found matching your data policy."), "model"),
    ("route", 404, {"detail": "Not Found"}, "route"),
    ("page", 404, HTML.format("404 Not Found"), "route"),
    ("405", 405, {"detail": "Method Not Allowed"}, "route"),
]


@each_error(ERRORS)
@both_forms
def test_an_error_is_understood(status: int, body: object, kind: str, as_text: bool) -> None:
    assert_understood(status, body, kind, as_text)
