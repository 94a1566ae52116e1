"""One request to a chat endpoint, and the key under which its answer is kept for good."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from convrec.artifacts.identity import digest


@dataclass(frozen=True)
class Request:
    """A chat completion that some context needs.

    `body` is exactly what is sent: model, messages, every parameter, the response schema. `owner`
    (the context that asks) is for people and for Batch files; it is not part of the key.
    """

    owner: str
    endpoint: str
    body: Mapping[str, Any]

    @cached_property
    def key(self) -> str:
        """SHA-256 of the canonical JSON of endpoint name and body, in hex."""
        return digest({"endpoint": self.endpoint, "body": self.body})
