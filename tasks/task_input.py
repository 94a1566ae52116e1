"""What Prefect passes to the task of a node, and who follows a run while it goes."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from functools import cached_property
from typing import Any, Protocol

from convrec.artifacts import ArtifactRef, ArtifactSpec, Store
from convrec.config import Config
from convrec.errors import ConfigError
from convrec.pipeline.graph import Node
from convrec.stages.base import StepContext
from convrec.stages.fingerprint import CachedArtifact, find_cached, fingerprint

LLM_FIGURES = ("requests", "from_ledger", "sent", "prompt_tokens", "completion_tokens", "usd")


class Watcher(Protocol):
    """Whoever follows a run as it goes, as the command line does."""

    def progress(self, name: str, done: int, total: int, text: str) -> None:
        """A long step is at `done` of `total`."""

    def ended(self, entry: Mapping[str, Any], note: str) -> None:
        """An artifact was made, found or skipped; `note` says why it was skipped."""


class _Nobody:
    def progress(self, name: str, done: int, total: int, text: str) -> None:
        """Not watched."""

    def ended(self, entry: Mapping[str, Any], note: str) -> None:
        """Not watched."""


watcher: ContextVar[Watcher] = ContextVar("watcher", default=_Nobody())  # noqa: B039


def secret(block: str) -> str:
    """The API key in a Prefect Secret block; empty without a name. Raises ConfigError."""
    if not block:
        return ""
    from prefect.blocks.system import Secret

    try:
        return str(Secret.load(block).get())
    except ValueError:
        raise ConfigError(
            f"llm.secret={block!r}: there is no Prefect Secret block of this name; make it in the "
            "UI under Blocks, or leave llm.secret empty and set OPENAI_API_KEY"
        ) from None


class TaskInput:
    """What a task needs to make one artifact.

    A plain class, because Prefect copies and inspects dataclasses among a task's parameters.
    """

    def __init__(
        self,
        node: Node,
        config: Config,
        store: Store,
        parents: Mapping[str, ArtifactRef],
        *,
        refresh: bool = False,
        pinned: ArtifactRef | None = None,
        reasons: Mapping[str, str] | None = None,
    ) -> None:
        self.node = node
        self.config = node.adapt(config)
        self.store = store
        self.parents = parents
        self.refresh = refresh
        self.reasons = reasons or {}  # context → why this run got no response for it
        self.found = False  # set by the task: another host made the artifact
        self._spec: ArtifactSpec | None = None
        self._pinned = pinned

    @cached_property
    def mark(self) -> str:
        """Under which the artifact may be known to be current (`convrec.stages.fingerprint`)."""
        return fingerprint(self.node.step, StepContext(self.config, self.store, self.parents))

    @cached_property
    def current(self) -> CachedArtifact | None:
        """The complete artifact of this mark; None where it is to be looked for, or recomputed."""
        found = find_cached(self.store, self.mark)  # the mark is of before the artifact is named
        return None if self.refresh else found

    @property
    def spec(self) -> ArtifactSpec:
        """The identity of the artifact; stored answers must be there before it is asked for."""
        if self._spec is None:
            self._spec = self.node.step.spec(StepContext(self.config, self.store, self.parents))
        return self._spec

    @property
    def artifact_id(self) -> str:
        """The id of the artifact, which is the Prefect cache key."""
        if self._pinned:
            return self._pinned.artifact_id
        return self.current.ref.artifact_id if self.current else self.spec.artifact_id

    def watch(self, done: int, total: int, text: str) -> None:
        """Tell the watcher how far the step is."""
        watcher.get().progress(self.node.name, done, total, text)

    def ask(self, progress: Any, *, run_id: str, spent_usd: float) -> dict[str, Any]:
        """Get the answers that the step still lacks; figures of the calls, reasons by context."""
        if self.current:
            requests = self.current.requests
            nothing = {**dict.fromkeys(LLM_FIGURES, 0), "usd": 0.0, "failed": 0, "reasons": {}}
            return {**nothing, "requests": requests, "from_ledger": requests}
        from convrec.stages.responses import fetch_responses

        fetched = fetch_responses(
            self.node.step,
            StepContext(self.config, self.store, self.parents, progress),
            run=run_id,
            spent_usd=spent_usd,
            progress=progress,
            key=secret(self.config.llm.secret),
        )
        figures = {name: getattr(fetched, name) for name in LLM_FIGURES}
        return {**figures, "failed": len(fetched.failures), "reasons": dict(fetched.reasons)}
