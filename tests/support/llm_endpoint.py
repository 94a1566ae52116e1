"""A scripted OpenAI endpoint over real HTTP on loopback, and requests for it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from convrec.config import Config
from convrec.llm.requests import Request
from tests.support.demo_endpoint import serve_in_thread

ROOT = Path(__file__).resolve().parents[2]

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
    """`reply` answers each body; `seen` holds the user messages in order of arrival."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.reply: Reply = lambda body: JSONResponse(completion())
        self.latency = 0.0
        self.in_flight = 0
        self.max_in_flight = 0
        self.keys_seen: set[str] = set()
        self.url = ""

    @property
    def counts(self) -> Counter[str]:
        return Counter(self.seen)

    async def chat(self, request: Any) -> Response:
        body = json.loads(await request.body())
        self.seen.append(body["messages"][-1]["content"])
        self.keys_seen.add(request.headers.get("authorization", ""))
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.latency)
            return self.reply(body)
        finally:
            self.in_flight -= 1


@contextmanager
def running_endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    routes = [Route("/v1/chat/completions", endpoint.chat, methods=["POST"])]
    with serve_in_thread(Starlette(routes=routes)) as endpoint.url:
        yield endpoint


def config(endpoint: Endpoint | str, **llm: Any) -> Config:
    url = endpoint if isinstance(endpoint, str) else endpoint.url
    return Config.model_validate({"llm": {"base_url": url, "endpoint": "test", **llm}})


def make_request(number: int | str, model: str = "demo-teacher", **more: Any) -> Request:
    body = {"model": model, "messages": [{"role": "user", "content": f"post {number}"}], **more}
    return Request(owner=f"context-{number}", endpoint="test", body={"max_tokens": 50, **body})


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never became true"
        time.sleep(0.01)


def by_text(replies: dict[str, Response]) -> Reply:
    """Reply to these messages as mapped, and to all others with a completion."""
    return lambda body: replies.get(body["messages"][-1]["content"]) or JSONResponse(completion())


def first_then_fine(reply: Callable[[], Response]) -> Reply:
    """Send `reply` to the first attempt of each message, and completions afterwards."""
    seen: set[str] = set()

    def respond(body: dict[str, Any]) -> Response:
        text = body["messages"][-1]["content"]
        if text in seen:
            return JSONResponse(completion())
        seen.add(text)
        return reply()

    return respond


_FETCH = """
import sys
from pathlib import Path
from convrec.artifacts import Store
from convrec.llm.fetch import fetch
from tests.support.llm_endpoint import config, make_request
home, url, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
fetched = fetch([make_request(n) for n in range(count)], config=config(url, max_concurrency=4),
                store=Store(home), stage="recommend", run="child")
print(fetched.from_ledger, fetched.sent)
"""


def fetch_in_child(home: Path, url: str, count: int) -> subprocess.Popen[str]:
    """A process that fetches `count` requests, then prints `from_ledger` and `sent`."""
    return subprocess.Popen(
        [sys.executable, "-c", _FETCH, str(home), url, str(count)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
