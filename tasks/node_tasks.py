"""The Prefect tasks of a pipeline node: fetch its responses, build, commit, show the figures."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from prefect import Task, task
from prefect.artifacts import (
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run, task_run

from convrec.artifacts import ArtifactRef, Producer, Store
from convrec.errors import WarehouseError
from convrec.pipeline.graph import Node
from convrec.pipeline.node_build import (
    BuildOptions,
    BuiltNode,
    build_node,
    find_built,
    workspace_folder,
)
from convrec.stages.base import build_here
from convrec.training.tracking.run import read_locations
from tasks.cache import ArtifactCache
from tasks.dask import on_dask
from tasks.fetch import fetch_missing
from tasks.figures import describe, figure_rows
from tasks.listener import listener
from tasks.publish import publish_for_task, publish_markdown
from tasks.quarantine import quarantine_markdown
from tasks.run_log import forwarded_warnings
from tasks.run_names import fetch_run_name, run_name
from tasks.task_input import TaskInput
from tasks.tracking import TrackingLinks

SHOW_EVERY = 2.0
"""Seconds between two updates of a progress artifact."""


class TaskProgress:
    """Shows the progress of a long step in the Prefect UI and to the run's listener.

    The bar of a step that has ended is deleted; that of one that failed shows how far it came.
    """

    def __init__(self, node: Node, key: str, on_update: Callable[[], None] | None = None) -> None:
        self.node = node
        self.on_update = on_update
        self.key = key
        self.artifact: Any = None
        self.shown = time.monotonic()

    def __call__(self, done: int, total: int, text: str) -> None:
        """Report `done` of `total`; the UI is updated at most every SHOW_EVERY seconds."""
        listener.get().progress(self.node.name, done, total, text)
        now = time.monotonic()
        if now - self.shown < SHOW_EVERY:
            return
        self.shown = now
        if self.on_update is not None:
            self.on_update()
        percent = 100.0 * done / max(total, 1)
        shown = f"{done:,} of {total:,}; {text}"
        if self.artifact is None:
            self.artifact = create_progress_artifact(percent, key=self.key, description=shown)
        else:
            update_progress_artifact(self.artifact, progress=percent, description=shown)

    def finish(self) -> None:
        """Remove the bar, if there is one."""
        if self.artifact is not None:
            with get_client(sync_client=True) as client, suppress(ObjectNotFound):
                client.delete_artifact(self.artifact)
            self.artifact = None


def slug(*words: str) -> str:
    """An artifact key that Prefect accepts: lower case and dashes."""
    return "-".join(words).replace("_", "-")


def is_retryable(_task: Any, _run: Any, state: Any) -> bool:
    """Whether waiting may help: a locked warehouse, a full disk, a lost connection."""
    try:
        state.result()
    except (WarehouseError, OSError):
        return True
    except Exception:
        return False
    return False


def artifact_task(node: Node, **options: Any) -> Task[..., ArtifactRef]:
    """The cached task that makes a node's artifact; `options` are Prefect's."""

    @task(
        name=f"{node.stage}: {node.name}",
        task_run_name=run_name,
        description=f"Makes the {node.step.kind} artifact of stage {node.stage}.",
        cache_policy=ArtifactCache(),
        persist_result=True,
        result_serializer="json",
        **options,
    )
    def make(task_input: TaskInput, parents: Mapping[str, ArtifactRef]) -> ArtifactRef:
        return build(task_input)

    return make


def fetch_task(node: Node) -> Task[..., dict[str, Any]]:
    """The uncached task that fetches the responses which a node misses; figures of the calls."""

    @task(
        name=f"{node.stage}: ask for {node.name}",
        task_run_name=fetch_run_name,
        description="Sends the requests whose responses are not stored yet; sends none twice.",
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=2,
        retry_delay_seconds=[5, 30],
        retry_condition_fn=is_retryable,
    )
    def fetch(
        task_input: TaskInput,
        parents: Mapping[str, ArtifactRef],
        run_id: str,
        spent_usd: float,
    ) -> dict[str, Any]:
        progress = TaskProgress(node, slug("progress", "ask", node.name))
        with forwarded_warnings():
            figures = fetch_missing(task_input, progress, run_id=run_id, spent_usd=spent_usd)
        progress.finish()
        if figures["sent"]:
            rows = figure_rows({name: figures[name] for name in figures if name != "reasons"})
            publish_for_task(
                rows,
                slug("ask", node.name),
                f"{figures['sent']:,} requests sent, ${figures['usd']:.4f}",
            )
        return figures

    return fetch


def build(task_input: TaskInput) -> ArtifactRef:
    """Build and commit the artifact, unless another run has committed it in the meantime."""
    node, resolved = task_input.node, task_input.resolved
    if (ref := find_built(resolved)) is not None:
        task_input.found = True
        return ref
    links = TrackingLinks(slug("tracking", node.name), workspace_folder(resolved))
    on_update = links.update if node.step.kind == "checkpoint" else None
    progress = TaskProgress(node, slug("progress", node.name), on_update)

    def show_built(figures: Mapping[str, Any]) -> None:
        progress.finish()
        links.show(read_locations(figures))

    spread: Any = on_dask if resolved.ctx.config.runner.kind == "dask" else build_here
    options = BuildOptions(
        producer=Producer(str(flow_run.id or ""), str(task_run.id or "")),
        missing=task_input.missing,
        progress=progress,
        spread=spread,
        on_built=show_built,
    )
    with forwarded_warnings():
        built = build_node(resolved, options)
    publish_built(task_input.store, node, built)
    return built.ref


def publish_quarantine(store: Store, ref: ArtifactRef) -> None:
    """Show the rows that were set aside, also on the page of the flow run."""
    page = quarantine_markdown(store.read(ref.artifact_id), ref.artifact_id)
    publish_markdown(page, ref.kind, describe(ref))


def publish_built(store: Store, node: Node, built: BuiltNode) -> None:
    """Show what was made on the page of the task run; set-aside rows also on the flow run's."""
    ref = built.ref
    if ref.kind == "quarantine" and ref.rows:
        publish_quarantine(store, ref)
        return
    if ref.kind == "report":  # its page is written by each run that has it
        return
    figures = {"rows": ref.rows, "seconds": built.seconds, **built.figures}
    rows = figure_rows({**figures, "id": ref.artifact_id})
    publish_for_task(rows, slug(node.name), describe(ref))
