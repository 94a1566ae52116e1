"""The API key goes to the endpoint only, and reasons contain no text of a conversation."""

from __future__ import annotations

import logging

import pytest
from starlette.responses import JSONResponse

from convrec.artifacts import Store
from convrec.errors import ConfigError, EndpointError
from convrec.llm.fetch import fetch
from convrec.llm.response_store import ResponseStore
from tests.support.llm_endpoint import Endpoint, completion, config, make_request, refusal

KEY = "sk-planted-0123456789abcdef"


def test_a_missing_key_is_an_error(store: Store) -> None:
    with pytest.raises(ConfigError, match="Set OPENAI_API_KEY"):
        fetch(
            [make_request(1)],
            config=config("https://llm.invalid/v1"),
            store=store,
            stage="recommend",
        )


def test_the_key_is_sent_and_stored_nowhere(
    store: Store,
    endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    fetch([make_request(1)], config=config(endpoint), store=store, stage="recommend")
    endpoint.reply = lambda body: refusal(401, None, f"Incorrect API key provided: {KEY}")
    with pytest.raises(EndpointError) as caught:
        fetch([make_request(2)], config=config(endpoint), store=store, stage="recommend")
    assert endpoint.keys_seen == {f"Bearer {KEY}"}
    assert KEY not in str(caught.value)
    assert KEY not in caplog.text
    stored = b"".join(p.read_bytes() for p in store.home.rglob("*") if p.is_file())
    assert KEY.encode() not in stored


def test_a_key_in_a_response_is_masked(
    store: Store, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    endpoint.reply = lambda body: JSONResponse(completion(f"1. Heat (1995) {KEY}"))
    fetch([make_request(1)], config=config(endpoint), store=store, stage="recommend")
    stored = ResponseStore(store).responses([make_request(1).key])[make_request(1).key]
    assert stored["choices"][0]["message"]["content"] == "1. Heat (1995) …"
    assert KEY.encode() not in b"".join(p.read_bytes() for p in store.home.rglob("*.*"))


def test_each_terminal_failure_has_its_own_message(
    store: Store, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = []
    replies = [
        refusal(401, "invalid_api_key"),
        refusal(404, "model_not_found"),
        refusal(400, "context_length_exceeded"),
        refusal(429, "insufficient_quota"),
    ]
    for url, reply in [
        ("https://llm.invalid/v1", None),
        ("http://127.0.0.1:1/v1", None),
        *((endpoint.url, reply) for reply in replies),
    ]:
        endpoint.reply = lambda body, reply=reply: reply  # type: ignore[misc]
        with pytest.raises((ConfigError, EndpointError)) as caught:
            fetch([make_request(1)], config=config(url), store=store, stage="recommend")
        messages.append(str(caught.value))
    words = ["needs an API key", "cannot be reached", "rejects the API key", "does not have model"]
    words += ["too long", "quota"]
    assert [word in text for word, text in zip(words, messages, strict=True)] == [True] * 6
    assert len(set(messages)) == 6


def test_reasons_do_not_repeat_the_conversation(store: Store, endpoint: Endpoint) -> None:
    text = "my very private evening with three films"
    request = make_request(text)
    endpoint.reply = lambda body: refusal(400, "odd", f"cannot read: post {text}")
    limits = config(endpoint, max_failures=1)
    fetched = fetch([request], config=limits, store=store, stage="recommend")
    assert fetched.failures == {request.key: "HTTP 400"}
