"""The demo server's Batch API around a scripted model, and fetches through it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from convrec.artifacts import Store
from convrec.demo import server
from convrec.demo.faults import Faults
from convrec.llm.fetch import FetchResult, fetch
from convrec.llm.requests import Request
from convrec.llm.response_store import ResponseStore
from tests.support.demo_endpoint import serve_in_thread
from tests.support.llm_endpoint import completion, config

Intercept = Callable[[str, int], Response | None]
"""(call, how many such calls there were before) → response; None lets the server answer."""

Rewrite = Callable[[str, int, dict[str, Any]], dict[str, Any]]
"""(call, how many such calls there were before, JSON object that is sent) → what to send."""


class BatchEndpoint:
    """`reply` answers each body; `log` holds what the server did.

    `intercept` and `rewrite` script other endpoints' ways. A call is a method and a kind of path:
    `POST files`, `GET files`, `GET file`, `GET content`, `POST batches`, `GET batches`, `GET batch`
    or `POST cancel`; `calls` counts them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: list[str] = []
        self.reply: Callable[[dict[str, Any]], dict[str, Any]] = lambda body: completion()
        self.intercept: Intercept = lambda call, number: None
        self.rewrite: Rewrite | None = None
        self.calls: Counter[str] = Counter()
        self._resources = ExitStack()

    def start(self, faults: str = "", batch_seconds: float = 0.0, seed: int = 0) -> str:
        log = self._resources.enter_context((self.folder / "log.jsonl").open("a"))
        app = server.create_app(
            self._complete,
            ["demo-teacher"],
            faults=Faults.parse(faults, seed=seed),
            log=log,
            state=self.folder / "state",
            batch_seconds=batch_seconds,
        )
        app.add_middleware(BaseHTTPMiddleware, dispatch=self._script)
        self.url = self._resources.enter_context(serve_in_thread(app))
        return self.url

    def stop(self) -> None:
        self._resources.close()

    @property
    def log(self) -> list[dict[str, Any]]:
        lines = (self.folder / "log.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    @property
    def created(self) -> list[int]:
        """Requests in each batch that was created."""
        return [row["requests"] for row in self.log if row["outcome"] == "created"]

    async def _script(self, request: HttpRequest, call_next: RequestResponseEndpoint) -> Response:
        call = _call_name(request)
        number = self.calls[call]
        self.calls[call] += 1
        if (scripted := self.intercept(call, number)) is not None:
            return scripted
        response = await call_next(request)
        if self.rewrite is None or call == "GET content" or response.status_code != 200:
            return response
        body = b"".join([bytes(part) async for part in response.body_iterator])  # type: ignore[attr-defined]
        return JSONResponse(self.rewrite(call, number, json.loads(body)))

    def _complete(self, body: dict[str, Any]) -> dict[str, Any]:
        self.seen.append(body["messages"][-1]["content"])
        return self.reply(body)


def _call_name(request: HttpRequest) -> str:
    parts = request.url.path.strip("/").split("/")
    kinds = {2: parts[1], 3: parts[1].removesuffix("es" if parts[1] == "batches" else "s")}
    return f"{request.method} {kinds.get(len(parts), parts[-1])}"


@contextmanager
def batch_endpoint(folder: Path) -> Iterator[BatchEndpoint]:
    """An endpoint with its files in a new `folder`, stopped at the end of the block."""
    folder.mkdir()
    endpoint = BatchEndpoint(folder)
    try:
        yield endpoint
    finally:
        endpoint.stop()


def fetch_in_batches(
    requests: list[Request], url: str, store: Store, run: str = "r", **llm: Any
) -> FetchResult:
    batch = {"poll_seconds": 0.05, **llm.pop("batch", {})}
    settings = config(url, batch=batch, **llm)
    return fetch(requests, config=settings, store=store, stage="recommend", run=run, source="batch")


def stored_count(store: Store, requests: list[Request]) -> int:
    return len(ResponseStore(store).digests([r.key for r in requests]))
