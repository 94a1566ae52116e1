"""The demo server's Batch API around a scripted model, and fetches through it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from convrec.artifacts import Store
from convrec.demo import server
from convrec.demo.faults import Faults
from convrec.llm.fetch import FetchResult, fetch
from convrec.llm.requests import Request
from convrec.llm.response_store import ResponseStore
from tests.support.demo_endpoint import serve_in_thread
from tests.support.llm_endpoint import completion, config


class BatchEndpoint:
    """`reply` answers each body; `log` holds what the server did."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: list[str] = []
        self.reply: Callable[[dict[str, Any]], dict[str, Any]] = lambda body: completion()
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

    def _complete(self, body: dict[str, Any]) -> dict[str, Any]:
        self.seen.append(body["messages"][-1]["content"])
        return self.reply(body)


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
