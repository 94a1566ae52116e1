"""Requests to an endpoint, and the key under which each answer is kept for good."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, TypeVar

from convrec.artifacts.identity import canonical, text_digest

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """A chat completion that some context needs, or the embeddings of some texts.

    `body` is exactly what is sent: model, messages (or, for embeddings, input), every parameter,
    the response schema. `owner` (the context that asks) is for people and for Batch files; it is
    not part of the key.
    """

    owner: str
    endpoint: str
    body: Mapping[str, Any]

    @cached_property
    def key(self) -> str:
        """SHA-256 of the canonical JSON of endpoint name and body, in hex."""
        return text_digest(self.said)

    @property
    def said(self) -> str:
        """What the key is the hash of."""
        return canonical({"endpoint": self.endpoint, "body": self.body})

    @property
    def route(self) -> str:
        """Where under the base URL it is posted to."""
        return route(self.body)


def route(body: Mapping[str, Any]) -> str:
    """Where under the base URL a body is posted to: one with `input` asks for embeddings."""
    return "/embeddings" if "input" in body else "/chat/completions"


class LazyRequests(Collection[Request]):
    """The requests of a stage, made anew at each pass, so that memory does not grow with them.

    `make` starts a pass; `count` is how many requests a pass gives, or counts them when that is
    asked for.
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


def chunks(requests: Iterable[T], size: int = 8192) -> Iterator[list[T]]:
    """The requests, or what goes with them, in lists of at most `size`, in order."""
    running = iter(requests)
    while chunk := list(islice(running, size)):
        yield chunk


def distinct(requests: Iterable[Request]) -> Iterator[Request]:
    """The requests without those whose key came before."""
    seen: set[bytes] = set()
    for request in requests:
        key = bytes.fromhex(request.key)
        if key not in seen:
            seen.add(key)
            yield request
