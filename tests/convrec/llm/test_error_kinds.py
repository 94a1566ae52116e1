# ruff: noqa: E501 - messages as they come
"""What error bodies of real endpoints and gateways mean for the run."""

from __future__ import annotations

import json
from typing import Any

import pytest

from convrec.llm.error_body import read_error
from convrec.llm.error_kinds import error_kind
from convrec.llm.outcome import Failure, error_failure
from convrec.llm.response_body import parse_response

BODY = {
    "model": "some-model",
    "temperature": 0.0,
    "max_tokens": 600,
    "messages": [{"role": "user", "content": "something like the long goodbye, please, but newer"}],
}


def openai(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", **more}}


def google(code: int, status: str, message: str, *details: dict[str, Any]) -> list[dict[str, Any]]:
    error = {"code": code, "message": message, "status": status, "details": list(details)}
    return [{"error": error}]


HTML = "<!DOCTYPE html><html><head><title>{}</title></head><body>nginx</body></html>"

ERRORS: list[tuple[str, int, object, str]] = [
    # -- the key, the account, the region
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
    # -- credit
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
    # -- limits that pass, or not today
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
    # -- the model
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
    # -- one conversation
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
    # -- wrapped in the text of another error
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
    # -- gateways and local servers: a small refusal for everybody, or a passing crowd
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
    # -- unexplained
    ("odd", 400, openai("odd words"), "other"),
    ("too little for thinking", 400, openai("Could not finish: raise max_tokens"), "other"),
    ("a gateway's own trouble", 502, openai("invalid url for upstream"), "busy"),
    ("blocked by a firewall", 403, HTML.format("Attention Required!"), "other"),
    ("nothing", 400, "", "other"),
]

FAILURE_KINDS = {
    **dict.fromkeys(("key", "access", "quota", "daily", "model", "route"), "terminal"),
    **dict.fromkeys(("flagged", "too_long"), "request"),
    "busy": "transient",
}


@pytest.mark.parametrize(
    ("status", "body", "kind"), [each[1:] for each in ERRORS], ids=[e[0] for e in ERRORS]
)
@pytest.mark.parametrize("as_text", [False, True], ids=["parsed", "text"])
def test_an_error_is_understood(status: int, body: object, kind: str, as_text: bool) -> None:
    sent = json.dumps(body) if as_text and not isinstance(body, str) else body
    error = read_error(sent)
    assert error_kind(error, error.status or (status if status >= 400 else 0)) == kind
    failure = error_failure("http://e/v1", "", status, sent, BODY)
    assert failure.kind == FAILURE_KINDS.get(kind, "request")
    assert failure.explained == (kind != "other")
    if status == 200:
        found = parse_response(json.dumps(body), BODY, url="http://e/v1")
        assert isinstance(found, Failure)
        assert (found.kind, found.reason) == (failure.kind, failure.reason)
