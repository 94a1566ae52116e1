"""A scripted OpenAI endpoint over real HTTP on loopback."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from convrec.config import Config
from convrec.demo import server
from convrec.llm.requests import Request

Reply = Callable[[dict[str, Any]], Response]


def completion(text: str = "1. Heat (1995)", prompt: int = 100, output: int = 50) -> dict[str, Any]:
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "demo-teacher",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": prompt, "completion_tokens": output},
    }


def refusal(status: int, code: str | None = None, message: str = "no", **more: Any) -> Response:
    headers = more.pop("headers", None)
    error = {"message": message, "type": "error", "param": None, "code": code, **more}
    return JSONResponse({"error": error}, status_code=status, headers=headers)


class Endpoint:
    """`reply` answers each body; `seen` are the users' texts in the order of arrival."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.reply: Reply = lambda body: JSONResponse(completion())
        self.latency = 0.0
        self.in_flight = 0
        self.most_in_flight = 0
        self.keys_seen: set[str] = set()
        self._listener = server.bind(0)
        self.url = server.base_url(self._listener)
        routes = [Route("/v1/chat/completions", self._chat, methods=["POST"])]
        self._server = server.server(Starlette(routes=routes))
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._listener]}, daemon=True
        )
        self._thread.start()

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.seen)

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)

    async def _chat(self, request: Any) -> Response:
        import asyncio

        body = json.loads(await request.body())
        self.seen.append(body["messages"][-1]["content"])
        self.keys_seen.add(request.headers.get("authorization", ""))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.latency)
            return self.reply(body)
        finally:
            self.in_flight -= 1


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    running = Endpoint()
    yield running
    running.close()


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convrec.llm.dispatcher.FIRST_DELAY", 0.01)
    monkeypatch.setattr("convrec.llm.batch.client.FIRST_DELAY", 0.01)
    monkeypatch.setattr("convrec.llm.batch.run.FIRST_LOOK", 0.02)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def config(endpoint: Endpoint | str, **llm: Any) -> Config:
    url = endpoint if isinstance(endpoint, str) else endpoint.url
    return Config.model_validate({"llm": {"base_url": url, "endpoint": "test", **llm}})


def ask(number: int | str, model: str = "demo-teacher", **more: Any) -> Request:
    body = {"model": model, "messages": [{"role": "user", "content": f"post {number}"}], **more}
    return Request(owner=f"context-{number}", endpoint="test", body={"max_tokens": 50, **body})


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def by_text(replies: dict[str, Response]) -> Any:
    """Each of these texts gets its reply, everything else a completion."""
    return lambda body: replies.get(body["messages"][-1]["content"]) or JSONResponse(completion())


def first_then_fine(reply: Any) -> Any:
    """Each text's first attempt meets `reply`, later ones a completion."""
    met: set[str] = set()

    def answer(body: dict[str, Any]) -> Response:
        text = body["messages"][-1]["content"]
        if text in met:
            return JSONResponse(completion())
        met.add(text)
        return reply()

    return answer
