"""Who follows a run while it goes: the command line, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Protocol


class RunListener(Protocol):
    """Called as a run goes on."""

    def progress(self, name: str, done: int, total: int, text: str) -> None:
        """A long step is at `done` of `total`."""

    def finished(self, entry: Mapping[str, Any], note: str) -> None:
        """An artifact was made, found or skipped; `note` says why it was skipped."""


class _Silent:
    def progress(self, name: str, done: int, total: int, text: str) -> None:
        """Ignore progress."""

    def finished(self, entry: Mapping[str, Any], note: str) -> None:
        """Ignore results."""


listener: ContextVar[RunListener] = ContextVar("listener", default=_Silent())  # noqa: B039
