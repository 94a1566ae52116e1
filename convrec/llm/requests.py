"""Requests to an endpoint, and the key under which each response is stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, TypeVar

from convrec.artifacts.identity import canonical_json, text_digest

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """A request for a chat completion or for embeddings; `body` is exactly what is sent.

    `owner` is the context that needs the response; it is not part of the key.
    """

    owner: str
    endpoint: str
    body: Mapping[str, Any]

    @cached_property
    def key(self) -> str:
        """SHA-256 of `canonical_json`, in hex."""
        return text_digest(self.canonical_json)

    @property
    def canonical_json(self) -> str:
        """Endpoint name and body as canonical JSON."""
        return canonical_json({"endpoint": self.endpoint, "body": self.body})

    @property
    def model(self) -> str:
        """The model's name."""
        return str(self.body.get("model"))

    @property
    def body_json(self) -> str:
        """The body as it is stored and sent."""
        return json.dumps(dict(self.body), ensure_ascii=False)


def route(body: Mapping[str, Any]) -> str:
    """The path under the base URL for a body; one with `input` asks for embeddings."""
    return "/embeddings" if "input" in body else "/chat/completions"


class LazyRequests(Collection[Request]):
    """Requests that are built again on each iteration, so that they take no memory.

    `make` starts an iteration. `count` is the number of requests, or a function that counts them.
    """

    def __init__(
        self, make: Callable[[], Iterator[Request]], count: int | Callable[[], int]
    ) -> None:
        self._make, self._count = make, count

    def __iter__(self) -> Iterator[Request]:
        return self._make()

    def __len__(self) -> int:
        if callable(self._count):
            self._count = self._count()
        return self._count

    def __contains__(self, request: object) -> bool:
        return any(request == other for other in self)


def chunks(items: Iterable[T], size: int = 8192) -> Iterator[list[T]]:
    """Lists of at most `size` items, in order."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def distinct(requests: Iterable[Request]) -> Iterator[Request]:
    """The first request of each key."""
    seen: set[bytes] = set()
    for request in requests:
        key = bytes.fromhex(request.key)
        if key not in seen:
            seen.add(key)
            yield request
