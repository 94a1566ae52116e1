"""Bodies with HTTP 200: streams, web pages, errors, and how often they are asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)

from convrec.artifacts import Store
from convrec.errors import EndpointError
from convrec.llm.fetch import fetch
from convrec.llm.ledger import ledger_rows
from convrec.llm.outcome import Failure, Success
from convrec.llm.prices import Usage
from convrec.llm.response_body import parse_response
from convrec.llm.response_store import ResponseStore
from tests.support.llm_endpoint import (
    Endpoint,
    by_text,
    completion,
    config,
    first_then_fine,
    make_request,
)

CHAT = {"model": "m", "messages": [{"role": "user", "content": "x" * 300}]}
LIST = "1. Heat (1995)\n2. Alien (1979)"


def event(value: object) -> str:
    return f"data: {value if isinstance(value, str) else json.dumps(value)}\n\n"


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return event({"id": "c", "object": "chat.completion.chunk", "choices": [choice], **more})


def pieces(size: int = 7) -> str:
    return "".join(chunk({"content": LIST[n : n + size]}) for n in range(0, len(LIST), size))


USAGE = {"prompt_tokens": 90, "completion_tokens": 12}
USED = event({"choices": [], "usage": USAGE})
STOP, DONE = chunk({}, "stop"), event("[DONE]")

STREAMS: dict[str, str] = {
    "plain": pieces() + STOP + USED + DONE,
    "without [DONE]": pieces() + STOP,
    "without a finish reason": pieces() + DONE,
    "usage with the last chunk": pieces() + chunk({}, "stop", usage=USAGE),
    "role first": chunk({"role": "assistant", "content": None}) + pieces() + STOP + DONE,
    "comments": ": OPENROUTER PROCESSING\n\n" + pieces() + ": ping\n\n" + STOP + DONE,
    "no space after the colon": (pieces() + STOP + DONE).replace("data: ", "data:"),
    "CRLF": (pieces() + STOP + DONE).replace("\n", "\r\n"),
    "named events": (pieces() + STOP).replace("data:", "event: message\ndata:"),
    "whole message": event({**completion(LIST), "object": "chat.completion"}) + DONE,
    "parts": chunk({"content": [{"type": "text", "text": LIST}]}) + STOP,
    "another choice": pieces()
    + event({"choices": [{"index": 1, "delta": {"content": "x"}}]})
    + STOP,
    "byte order mark": "\ufeff" + pieces() + STOP,
}


@pytest.mark.parametrize("text", STREAMS.values(), ids=STREAMS)
@pytest.mark.parametrize("content_type", ["text/event-stream; charset=utf-8", ""])
def test_a_complete_stream_is_one_response(text: str, content_type: str) -> None:
    found = parse_response(text, CHAT, content_type)
    assert isinstance(found, Success)
    message = json.loads(found.response)["choices"][0]["message"]
    assert message["content"] == LIST
    assert found.usage.prompt in (90, 100) or found.usage.prompt > 100


def test_thinking_in_a_stream_stays_apart() -> None:
    found = parse_response(chunk({"reasoning_content": "Heat?"}) + pieces() + STOP + USED, CHAT)
    assert isinstance(found, Success)
    response = json.loads(found.response)
    assert response["choices"][0]["message"] == {
        "role": "assistant",
        "content": LIST,
        "reasoning_content": "Heat?",
    }
    assert response["choices"][0]["finish_reason"] == "stop"
    assert (response["id"], found.usage) == ("c", Usage(90, 0, 12))


def test_a_stream_that_breaks_off_is_no_response_but_billed() -> None:
    found = parse_response(pieces(), CHAT, "text/event-stream")
    assert isinstance(found, Failure)
    assert (found.kind, found.malformed) == ("transient", True)
    assert "text/event-stream" in found.reason
    assert found.usage is not None
    assert found.usage.prompt >= 100
    nothing = parse_response(": ping\n\n", CHAT, "text/event-stream")
    assert isinstance(nothing, Failure)
    assert nothing.usage is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"error": {"code": 402, "message": "Insufficient credits"}}, "terminal"),
        ({"error": {"code": 429, "message": "slow down"}}, "transient"),
        ({"error": {"type": "overloaded_error", "message": "Overloaded"}}, "transient"),
        ({"error": "model 'x' not found"}, "terminal"),
        ({"error": {"code": "content_filter", "message": "no"}}, "request"),
        ({"object": "error", "message": "too long: context length 10", "code": 400}, "request"),
    ],
)
def test_an_error_in_a_stream_is_understood(error: dict[str, Any], kind: str) -> None:
    found = parse_response(chunk({"content": "1. He"}) + event(error), CHAT, "text/event-stream")
    assert isinstance(found, Failure)
    assert found.kind == kind


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ({"error": {"message": "odd"}, "choices": None}, "transient", "odd"),
        ({"error": "odd"}, "transient", "odd"),
        ([{"error": {"code": 403, "message": "no rights"}}], "terminal", "no rights"),
        ({"detail": [{"msg": "odd", "loc": ["body"]}]}, "transient", "body: odd"),
        ({"success": False, "message": "odd"}, "transient", "odd"),
        ({"choices": [{"error": {"code": 502, "message": "odd"}}]}, "transient", "odd"),
        (
            {"choices": [{"finish_reason": "error", "message": {"content": "1."}}]},
            "transient",
            "error",
        ),
        (
            {"choices": [{"message": {"content": "1. He"}}], "error": {"code": 400}},
            "request",
            "400",
        ),
        ({"choices": []}, "transient", "no choices"),
        ({"message": {"role": "assistant", "content": "1. Heat"}}, "transient", "no choices"),
    ],
)
def test_an_error_in_a_200_is_told(body: object, kind: str, words: str) -> None:
    found = parse_response(json.dumps(body), CHAT, url="http://e/v1")
    assert isinstance(found, Failure)
    assert found.kind == kind
    assert words in found.reason


def test_an_empty_error_beside_choices_is_none() -> None:
    nothing: tuple[Any, ...] = (None, {}, "", False)
    for error in nothing:
        body = {**completion(), "error": error}
        assert isinstance(parse_response(json.dumps(body), CHAT), Success)


PAGE = "<!doctype html><html><head><title>Sign in &amp; go on</title></head><body>x</body></html>"
NEVER: dict[str, tuple[Callable[[], Response], str]] = {
    "page": (
        lambda: HTMLResponse(PAGE),
        "a web page (text/html), titled 'Sign in & go on', not JSON",
    ),
    "text": (lambda: PlainTextResponse("OK"), "the response is not JSON (text/plain)"),
    "empty": (lambda: Response(b""), "the response is empty"),
    "another API": (lambda: JSONResponse({"output": []}), "the response holds no choices"),
    "broken": (lambda: Response(b"{", media_type="application/json"), "broken JSON"),
    "stream": (
        lambda: Response(pieces(), media_type="text/event-stream"),
        "a stream (text/event-stream) that breaks off",
    ),
    "list": (lambda: JSONResponse([1]), "not a JSON object"),
    "redirect": (lambda: RedirectResponse("/login?t=secret", 302), "/login. If that is the"),
    "moved": (lambda: RedirectResponse("/v2", 301), "a redirect to http://127.0.0.1:"),
    "unpackable": (
        lambda: Response(b"{}", headers={"content-encoding": "gzip"}),
        "not compressed as its content-encoding says",
    ),
    "error": (lambda: JSONResponse({"error": "it did not work"}), "it did not work"),
}


@pytest.mark.parametrize(("reply", "words"), NEVER.values(), ids=NEVER)
def test_a_body_that_is_never_a_response_ends_the_run(
    store: Store, endpoint: Endpoint, reply: Callable[[], Response], words: str
) -> None:
    endpoint.reply = lambda body: reply()
    requests = [make_request(n) for n in range(100)]
    with pytest.raises(EndpointError, match="3 attempts of a request") as caught:
        fetch(requests, config=config(endpoint), store=store, stage="recommend")
    assert words in str(caught.value)
    assert max(endpoint.counts.values()) <= 3
    assert len(endpoint.seen) <= 24


def test_one_malformed_answer_does_not_stop_the_others(store: Store, endpoint: Endpoint) -> None:
    endpoint.reply = by_text({"post 3": HTMLResponse(PAGE)})
    requests = [make_request(n) for n in range(30)]
    settings = config(endpoint, max_concurrency=2)
    fetched = fetch(requests, config=settings, store=store, stage="recommend")
    assert list(fetched.failures) == [requests[3].key]
    assert "web page" in fetched.failures[requests[3].key]
    assert endpoint.counts["post 3"] == 6


def test_a_streamed_response_is_stored_and_billed(store: Store, endpoint: Endpoint) -> None:
    stream = pieces() + STOP + USED + DONE
    endpoint.reply = lambda body: Response(stream, media_type="text/event-stream")
    request = make_request(1)
    fetched = fetch([request], config=config(endpoint), store=store, stage="recommend", run="r")
    assert (fetched.prompt_tokens, fetched.completion_tokens) == (90, 12)
    stored = ResponseStore(store).responses([request.key])[request.key]
    assert stored["choices"][0]["message"]["content"] == LIST
    assert len(endpoint.seen) == 1


def test_streams_that_break_off_are_in_the_ledger(store: Store, endpoint: Endpoint) -> None:
    endpoint.reply = first_then_fine(lambda: Response(pieces(), media_type="text/event-stream"))
    fetch([make_request(1)], config=config(endpoint), store=store, stage="recommend", run="r")
    assert ledger_rows(store)[0]["requests"] == 2


def test_a_flagged_post_is_passed_over(store: Store, endpoint: Endpoint) -> None:
    error = {"code": 403, "message": "m", "metadata": {"reasons": ["x"], "flagged_input": "…"}}
    endpoint.reply = by_text({"post 0": JSONResponse({"error": error}, status_code=403)})
    requests = [make_request(n) for n in range(30)]
    fetched = fetch(requests, config=config(endpoint), store=store, stage="recommend")
    assert list(fetched.failures) == [requests[0].key]
    assert "content policy" in fetched.failures[requests[0].key]
    assert endpoint.counts["post 0"] == 1


def test_an_empty_account_in_a_200_stops_at_once(store: Store, endpoint: Endpoint) -> None:
    error = {"code": 402, "message": "Insufficient credits. Add more to go on."}
    endpoint.reply = lambda body: JSONResponse({"choices": None, "error": error})
    with pytest.raises(EndpointError, match=r"Add more to go on.*error 402 in an HTTP 200"):
        fetch(
            [make_request(n) for n in range(100)],
            config=config(endpoint, max_concurrency=4),
            store=store,
            stage="recommend",
        )
    assert len(endpoint.seen) <= 8


def test_a_pause_in_the_body_is_waited_for() -> None:
    for body, seconds in (
        ({"error": {"code": 429, "message": "Please try again in 1.2s."}}, 1.2),
        ({"error": {"code": 429, "message": "Please retry after 6 seconds."}}, 6),
        ({"error": {"code": 429, "message": "try again in 1 minute 5 seconds"}}, 65),
        ({"error": {"code": 429, "message": "try again in 820ms"}}, 0.82),
        ({"error": {"code": 429, "details": [{"retryDelay": "30s"}]}}, 30),
        ({"error": "Model x is loading", "estimated_time": 20.5, "code": 503}, 20.5),
    ):
        found = parse_response(json.dumps(body), CHAT)
        assert isinstance(found, Failure)
        assert found.kind == "transient"
        assert found.retry_after == pytest.approx(seconds)
    day = json.dumps({"error": {"code": 429, "message": "try again in 23h59m0s"}})
    found = parse_response(day, CHAT)
    assert isinstance(found, Failure)
    assert found.kind == "terminal"
    assert "pause of 23 h 59 min" in found.reason


SAID = "my secret wish is a film about lighthouses and nothing else"


@pytest.mark.parametrize(
    "message",
    [
        f"Unsupported input: {SAID}",
        f"Invalid model for '{SAID}'",
        f"your prompt was flagged: {SAID}",
        f"rate limit reached while reading {SAID}",
        f"key sk-0123456789abcdef or Bearer abc123def456 refused: {SAID}",
    ],
)
def test_no_reason_repeats_the_conversation_or_a_key(message: str) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": f"Hello,\n{SAID}\nplease"}]}
    for error in ({"message": message, "code": 400}, message, {"metadata": {"raw": message}}):
        found = parse_response(json.dumps({"error": error}), body, url="u", key="own-key-12345")
        assert isinstance(found, Failure)
        assert SAID[:30] not in found.reason
        assert "0123456789" not in found.reason


def test_a_secret_in_a_message_is_masked() -> None:
    for secret in (
        "sk-proj-abcdef123456",
        "AIzaSyA1234567890",
        "gsk_abcdefgh12",
        "Bearer abcdef12",
    ):
        error = {"error": {"message": f"API key expired: {secret}, renew it", "code": 401}}
        found = parse_response(json.dumps(error), CHAT, url="u")
        assert isinstance(found, Failure)
        assert secret not in found.reason
        assert "API key expired" in found.reason
