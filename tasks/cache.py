"""The cache policy: a task's cache key is the id of the artifact that it would make.

The warehouse is the truth and Prefect's result record its shadow: a record whose artifact is gone,
or is only partial, is unlinked before Prefect looks at it, so that a hit is never dangling.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect.cache_policies import CachePolicy

if TYPE_CHECKING:
    from prefect.context import TaskRunContext

    from tasks.task_input import TaskInput


def records(home: Path) -> Path:
    """Where Prefect keeps the result records of a warehouse: beside it."""
    return home / "results"


@dataclass
class ArtifactCache(CachePolicy):
    """Key = artifact id of the task's `order` parameter."""

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """The artifact id; unlinks a record that no complete artifact stands behind."""
        order: TaskInput = inputs["order"]
        artifact_id = order.artifact_id
        ref = order.store.find(artifact_id)
        if ref is None or ref.partial:
            (records(order.store.home) / artifact_id).unlink(missing_ok=True)
        return artifact_id
