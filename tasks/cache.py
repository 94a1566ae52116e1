"""The cache policy: a task's cache key is the id of the artifact that it would make.

The warehouse is the source of truth. Before Prefect looks up a result record, the policy deletes
the record of an artifact that is gone or only partial, so a cache hit never dangles.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect.cache_policies import CachePolicy
from prefect.context import TaskRunContext

from tasks.task_input import TaskInput


def result_records(home: Path) -> Path:
    """The folder of Prefect's result records of a warehouse."""
    return home / "results"


@dataclass
class ArtifactCache(CachePolicy):
    """The cache key is the artifact id of the task's parameter `task_input`."""

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """The artifact id; deletes a result record without a complete artifact."""
        task_input: TaskInput = inputs["task_input"]
        if task_input.resolved.find_complete() is None:
            record = result_records(task_input.store.home) / task_input.artifact_id
            record.unlink(missing_ok=True)
        return task_input.artifact_id
