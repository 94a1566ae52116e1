# ruff: noqa: E501 - messages as they come
"""Parameters that an endpoint refuses: understood, left out for the rest of the run, and logged."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from convrec.artifacts import Store
from convrec.errors import EndpointError
from convrec.llm.error_body import read_error
from convrec.llm.fetch import fetch
from convrec.llm.outcome import error_failure
from convrec.llm.parameters import AcceptedParameters, refused_parameter
from convrec.llm.requests import Request
from convrec.llm.response_store import ResponseStore
from tests.support.llm_endpoint import Endpoint, completion, config, make_request, refusal

BODY: dict[str, Any] = {
    "model": "my-deployment",
    "temperature": 0.2,
    "max_tokens": 600,
    "messages": [{"role": "user", "content": "films with a high temperature of feeling"}],
    "response_format": {"type": "json_schema", "json_schema": {}},
    "chat_template_kwargs": {"enable_thinking": False},
    "stream": False,
}


def openai(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", **more}}


def fastapi(*place: str, text: str = "Extra inputs are not permitted") -> dict[str, Any]:
    return {"detail": [{"type": "extra_forbidden", "loc": ["body", *place], "msg": text}]}


UNSUPPORTED: list[tuple[int, object, str]] = [
    (
        500,
        {
            "detail": "Error executing: Error code: 400 - {'error': {'message': \"Unsupported parameter: 'max_tokens' is not supported with this model.\", 'code': 'unsupported_parameter'}}"
        },
        "max_tokens",
    ),
    (400, {"detail": "Unsupported parameter: temperature"}, "temperature"),
    (400, {"error": "'response_format.type' must be 'json_schema' or 'text'"}, "response_format"),
    (
        400,
        openai(
            "Failed to deserialize the JSON body: response_format.type `json_schema` is unavailable now at line 1"
        ),
        "response_format",
    ),
    (
        400,
        openai(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
            param="max_tokens",
            code="unsupported_parameter",
        ),
        "max_tokens",
    ),
    (
        400,
        openai(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        ),
        "max_tokens",
    ),
    (
        400,
        openai(
            "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is supported.",
            param="temperature",
            code="unsupported_value",
        ),
        "temperature",
    ),
    (
        400,
        openai("Unsupported value: 'temperature' does not support 0.2 with this model."),
        "temperature",
    ),
    (400, openai("`temperature` is deprecated for this model."), "temperature"),
    (400, openai("Unrecognized request argument supplied: max_tokens"), "max_tokens"),
    (
        400,
        [
            {
                "error": {
                    "code": 400,
                    "status": "INVALID_ARGUMENT",
                    "message": 'Invalid JSON payload received. Unknown name "max_tokens": Cannot find field.',
                }
            }
        ],
        "max_tokens",
    ),
    (422, fastapi("temperature"), "temperature"),
    (422, {"detail": "max_tokens: unexpected keyword argument"}, "max_tokens"),
    (422, fastapi("stream"), "stream"),
    (
        400,
        {"message": "The model does not support the parameter temperature", "code": 400},
        "temperature",
    ),
    (400, {"error": "temperature is not allowed for reasoning models"}, "temperature"),
    (
        400,
        openai(
            "Provider returned error",
            code=400,
            metadata={"raw": '{"error": {"message": "Unsupported parameter: max_tokens"}}'},
        ),
        "max_tokens",
    ),
    (200, openai("Unknown parameter: 'temperature'", code=400), "temperature"),
    (
        400,
        openai(
            "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model."
        ),
        "response_format",
    ),
    (400, openai("This model does not support response format `json_schema`."), "response_format"),
    (
        400,
        openai(
            "Invalid schema for response_format 'ratings': 'minimum' is not permitted.",
            param="response_format",
            code="invalid_json_schema",
        ),
        "response_format",
    ),
    (400, openai("This response_format type is unavailable now"), "response_format"),
    (
        500,
        {
            "error": {
                "message": "1 validation error: response_format.type Input should be 'text' or 'json_object'"
            }
        },
        "response_format",
    ),
    (400, openai("Structured outputs are not supported by this server"), "response_format"),
    (400, openai("invalid temperature: only 1 is allowed for this model"), "temperature"),
    (422, {"message": fastapi("max_tokens"), "type": "invalid_request_error"}, "max_tokens"),
    (
        400,
        openai("Unknown name 'additionalProperties' at 'generation_config.response_schema'"),
        "response_format",
    ),
    (
        400,
        openai("The specified schema produces a constraint that has too many states for serving."),
        "response_format",
    ),
    (
        400,
        openai("output_config.format.schema: property 'maximum' is not supported"),
        "response_format",
    ),
    (422, fastapi("chat_template_kwargs"), "chat_template_kwargs"),
    (
        400,
        openai("Unknown parameter: 'chat_template_kwargs'.", param="chat_template_kwargs"),
        "chat_template_kwargs",
    ),
]

NOT_UNSUPPORTED: list[tuple[int, object, str | None]] = [
    (
        400,
        openai(
            "max_tokens is too large: 40000. This model supports at most 16384 completion tokens.",
            param="max_tokens",
            code="invalid_value",
        ),
        "max_tokens",
    ),
    (400, openai("max_tokens must be at least 1000"), "max_tokens"),
    (400, openai("Invalid max_tokens value, the valid range of it is [1, 8192]"), "max_tokens"),
    (400, openai("Requests with max_tokens > 4096 must have stream=true"), "max_tokens"),
    (
        422,
        {"error": "Input validation error: `temperature` must be strictly positive"},
        "temperature",
    ),
    (
        400,
        openai(
            "This model's maximum context length is 4096 tokens. However, you requested 4500 tokens (3900 in the messages, 600 in the completion). Reduce max_tokens."
        ),
        None,
    ),
    (400, openai("odd words"), None),
    (429, openai("Unsupported parameter: 'max_tokens'"), None),
    (400, openai("unknown speaker in message 3", param="messages[3].role"), None),
    (400, openai("Failed to generate JSON.", code="json_validate_failed"), None),
    (
        400,
        openai("Could not finish the message because max_tokens or output limit was reached."),
        None,
    ),
    (400, openai("The output does not match the provided schema after 3 tries"), None),
    (400, openai("Generated JSON does not match the expected json schema"), None),
    (400, openai("Bad JSON for the json_schema", code="json_validate_failed"), None),
    (400, openai("the context length is 4096", param="input_tokens"), None),
]


@pytest.mark.parametrize(("status", "body", "name"), UNSUPPORTED)
def test_an_unsupported_parameter_is_named(status: int, body: object, name: str) -> None:
    found = refused_parameter(read_error(body), BODY, read_error(body).status or status)
    assert found is not None
    assert found == (name, "unsupported")
    failure = error_failure("http://e/v1", "", status, body, BODY)
    assert (failure.kind, failure.parameter) == ("terminal", name)
    setting = "reflect.response_format" if name == "response_format" else "llm.models"
    assert setting in failure.reason or name == "stream"


@pytest.mark.parametrize(("status", "body", "name"), NOT_UNSUPPORTED)
def test_a_value_or_a_conversation_is_not_an_unsupported_parameter(
    status: int, body: object, name: str | None
) -> None:
    found = refused_parameter(read_error(body), BODY, status)
    assert found == (None if name is None else (name, "value"))
    failure = error_failure("http://e/v1", "", status, body, BODY)
    assert failure.parameter == ""
    assert failure.kind == "terminal" or name is None


def test_a_limit_has_two_names_before_it_is_left_out() -> None:
    accepted = AcceptedParameters("http://e/v1", "m")
    first = accepted.sent_body(BODY)
    assert accepted.leave_out("max_tokens", first)
    second = accepted.sent_body(BODY)
    assert ("max_tokens" in second, second["max_completion_tokens"]) == (False, 600)
    assert not accepted.leave_out("max_tokens", second)
    assert accepted.leave_out("max_completion_tokens", second)
    third = accepted.sent_body(BODY)
    assert not {"max_tokens", "max_completion_tokens"} & third.keys()
    assert third["temperature"] == 0.2


def test_a_format_or_a_field_of_the_user_is_never_left_out() -> None:
    accepted = AcceptedParameters("http://e/v1", "m")
    for name in ("response_format", "chat_template_kwargs", "model", "messages"):
        assert not accepted.leave_out(name, BODY)


def test_the_schema_in_a_json_object_is_left_out() -> None:
    body = {**BODY, "response_format": {"type": "json_object", "schema": {"type": "object"}}}
    refused = openai("Unknown parameter: 'response_format.schema'.", param="response_format.schema")
    found = refused_parameter(read_error(refused), body, 400)
    assert found is not None
    accepted = AcceptedParameters("http://e/v1", "m")
    assert accepted.leave_out(found.name, body)
    assert accepted.sent_body(body)["response_format"] == {"type": "json_object"}


def strict(bodies: list[dict[str, Any]], refused: dict[str, str]) -> Any:
    """An endpoint that keeps the bodies it gets, and refuses some fields with a message."""

    def reply(body: dict[str, Any]) -> Response:
        bodies.append(body)
        for name, message in refused.items():
            if name in body:
                return refusal(400, "unsupported_parameter", message, param=name)
        return JSONResponse(completion())

    return reply


def requests(count: int) -> list[Request]:
    return [make_request(n, model="demo-teacher", temperature=0.2) for n in range(count)]


def test_a_run_goes_on_without_a_parameter(
    store: Store, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    bodies: list[dict[str, Any]] = []
    endpoint.reply = strict(
        bodies, {"max_tokens": "Use 'max_completion_tokens'", "temperature": "no temperature"}
    )
    wanted = requests(20)
    settings = config(endpoint, max_concurrency=2)
    with caplog.at_level(logging.WARNING, "convrec.llm"):
        fetched = fetch(wanted, config=settings, store=store, stage="recommend", run="r")
        again = fetch(requests(24), config=settings, store=store, stage="recommend", run="r")
    assert (fetched.sent, fetched.failures, again.sent) == (20, {}, 4)
    assert set(ResponseStore(store).digests([r.key for r in wanted])) == {r.key for r in wanted}
    served = [body for body in bodies if not {"max_tokens", "temperature"} & body.keys()]
    assert len(served) == 24
    assert all(body["max_completion_tokens"] == 50 for body in served)
    assert len(bodies) - len(served) <= 4  # two refusals, met by two requests in flight
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert '{"demo-teacher": {"token_parameter": "max_completion_tokens"}}' in told[0]
    assert '{"demo-teacher": {"temperature": "none"}}' in told[1]
    assert not any("post" in text for text in told)


def test_another_run_asks_with_everything_again(store: Store, endpoint: Endpoint) -> None:
    bodies: list[dict[str, Any]] = []
    endpoint.reply = strict(bodies, {"temperature": "no temperature"})
    for run in ("one", "two"):
        part = [make_request(f"{run} {n}", temperature=0.2) for n in range(3)]
        settings = config(endpoint, max_concurrency=1)
        fetch(part, config=settings, store=store, stage="recommend", run=run)
    assert ["temperature" in body for body in bodies] == [True, *[False] * 3] * 2


def test_a_parameter_that_is_refused_again_ends_the_run(store: Store, endpoint: Endpoint) -> None:
    endpoint.reply = lambda body: refusal(400, "unsupported_parameter", "no", param="temperature")
    with pytest.raises(EndpointError, match="does not accept parameter 'temperature'"):
        fetch(requests(50), config=config(endpoint), store=store, stage="recommend", run="r")
    assert len(endpoint.seen) <= 2 * 8


def test_chat_requests_are_not_streamed(store: Store, endpoint: Endpoint) -> None:
    bodies: list[dict[str, Any]] = []
    endpoint.reply = strict(bodies, {})
    request = requests(1)[0]
    fetch([request], config=config(endpoint), store=store, stage="recommend")
    assert bodies == [{**request.body, "stream": False}]
    with store.read_connection() as connection:
        stored = connection.execute("SELECT request_key, body FROM llm_answers").fetchall()
    assert [(key, json.loads(body)) for key, body in stored] == [(request.key, request.body)]
    assert "stream" not in AcceptedParameters("u", "m").sent_body({"model": "m", "input": ["a"]})


@pytest.mark.parametrize(
    ("asked", "advice"),
    [("json_schema", "json_object or text"), ("json_object", "json_schema or text")],
)
def test_a_refused_format_leads_to_the_other_formats(asked: str, advice: str) -> None:
    body = {**BODY, "response_format": {"type": asked}}
    refused = openai("This response_format type is unavailable now")
    failure = error_failure("http://e/v1", "", 400, refused, body)
    assert failure.reason.endswith(f"Set reflect.response_format to {advice}")
    assert "This response_format type is unavailable now" in failure.reason
