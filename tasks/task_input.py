"""What Prefect passes to the task of a node."""

from __future__ import annotations

from collections.abc import Mapping

from convrec.pipeline.node_state import ResolvedNode


class TaskInput:
    """What a task needs to make one artifact.

    A plain class, because Prefect copies and inspects dataclasses among a task's parameters.

    Attributes:
        missing: Context → why this run got no response for it.
        found: Set by the task if it finds the artifact stored although Prefect has no record of
            it: a process on another host made it.
    """

    def __init__(self, resolved: ResolvedNode, missing: Mapping[str, str] | None = None) -> None:
        self.resolved = resolved
        self.node = resolved.node
        self.store = resolved.ctx.store
        self.parents = resolved.ctx.parents
        self.refresh = resolved.refresh
        self.missing = missing or {}
        self.found = False

    @property
    def artifact_id(self) -> str:
        """The id of the artifact, which is the Prefect cache key."""
        return self.resolved.artifact_id
