"""The Prefect tasks of a pipeline node: fetch its responses, build, commit, show the figures."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect import Task, task
from prefect.artifacts import (
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run, task_run

from convrec.artifacts import ArtifactRef, Producer, StepResult, Store
from convrec.errors import ConvrecError, InputError, WarehouseError, is_disk_full
from convrec.llm.read import with_reasons
from convrec.pipeline.graph import Node
from convrec.stages.base import StepContext
from convrec.stages.evaluate.report.model_card import write_model_card
from convrec.training.tracking.run import read_locations
from convrec.utils.workspace import remove_workspace
from tasks.cache import ArtifactCache
from tasks.dask import on_dask
from tasks.fetch import fetch_missing
from tasks.listener import listener
from tasks.run_log import forwarded_warnings
from tasks.run_names import fetch_run_name, run_name
from tasks.task_input import TaskInput
from tasks.tracking import TrackingLinks

SHOW_EVERY = 2.0
"""Seconds between two updates of a progress artifact."""


class TaskProgress:
    """Shows the progress of a long step in the Prefect UI and to the run's listener."""

    def __init__(self, node: Node, key: str, on_update: Callable[[], None] | None = None) -> None:
        self.node = node
        self.on_update = on_update
        self.key = key
        self.artifact: Any = None
        self.text = ""
        self.shown = time.monotonic()

    def __call__(self, done: int, total: int, text: str) -> None:
        """Report `done` of `total`; the UI is updated at most every SHOW_EVERY seconds."""
        listener.get().progress(self.node.name, done, total, text)
        self.text = text
        now = time.monotonic()
        if now - self.shown < SHOW_EVERY:
            return
        self.shown = now
        if self.on_update is not None:
            self.on_update()
        percent = 100.0 * done / max(total, 1)
        if self.artifact is None:
            self.artifact = create_progress_artifact(percent, key=self.key, description=text)
        else:
            update_progress_artifact(self.artifact, progress=percent, description=text)

    def finish(self) -> None:
        """Set the bar, if there is one, to 100% and to the last text."""
        if self.artifact is not None:
            update_progress_artifact(self.artifact, progress=100.0, description=self.text)


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
            rows = _figure_rows({name: figures[name] for name in figures if name != "reasons"})
            create_table_artifact(
                rows, key=slug("ask", node.name), description="requests of this run"
            )
        return figures

    return fetch


def build(task_input: TaskInput) -> ArtifactRef:
    """Build and commit the artifact, unless another run has committed it in the meantime."""
    node, store = task_input.node, task_input.store
    workspace = _workspace(task_input)
    ref = None if task_input.refresh else task_input.resolved.find_complete()
    if ref is not None:
        task_input.found = True
        _after_commit(store, ref, workspace)
        return ref
    started = time.monotonic()
    scratch = store.make_scratch_folder() if node.step.folder else None
    if task_input.refresh:
        remove_workspace(workspace)
    links = TrackingLinks(slug("tracking", node.name), workspace)
    is_training = node.step.kind == "checkpoint"
    on_update = links.update if is_training else None
    progress = TaskProgress(node, slug("progress", node.name), on_update)
    ctx = replace(
        task_input.resolved.ctx,
        progress=progress,
        scratch=scratch,
        workspace=workspace,
        rebuild=task_input.refresh,
        artifact_id=task_input.artifact_id,
        flow_run_id=str(flow_run.id or ""),
    )
    if ctx.config.runner.kind == "dask":
        ctx = replace(ctx, spread=on_dask)
    try:
        with forwarded_warnings():
            built = node.step.build(ctx)
        with closing(_with_reasons(built, task_input)) as result:
            progress.finish()
            links.show(read_locations(result.figures))
            _refuse_useless(result)
            _refuse_changed_files(task_input, ctx)
            seconds = time.monotonic() - started
            producer = Producer(str(flow_run.id or ""), str(task_run.id or ""))
            ref = store.put(
                task_input.resolved.spec,
                result,
                producer=producer,
                seconds=seconds,
                scratch=scratch,
            )
        _after_commit(store, ref, workspace)
    except Exception as error:  # Rust libraries raise errors of their own for a full disk
        if isinstance(error, ConvrecError) or not is_disk_full(error):
            raise
        raise WarehouseError(
            f"there is no space left for {node.name} in {store.home}; free some and run "
            "again, or set CONVREC_HOME to a folder on another disk; what was made before is kept"
        ) from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
    rows = _figure_rows({"rows": ref.rows, "seconds": round(seconds, 2)})
    rows += _figure_rows(result.figures)
    create_table_artifact(rows, key=slug(node.name), description=ref.artifact_id)
    return ref


def _figure_rows(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"figure": name, "value": value} for name, value in figures.items()]


def _with_reasons(result: StepResult, task_input: TaskInput) -> StepResult:
    """The result, with this run's reasons for the responses that are missing."""
    if result.failures is None or not task_input.missing:
        return result
    return replace(result, failures=with_reasons(result.failures, task_input.missing))


def _refuse_useless(result: StepResult) -> None:
    """Raise InputError if a run must not go on with a result."""
    if not result.useless:
        return
    if result.failures is None or result.failures.is_empty():
        raise InputError(result.useless)
    rows = result.failures.select("context_id", "reason").rows()
    ((reason, _),) = Counter(reason for _, reason in rows).most_common(1)
    raise InputError(f"{result.useless}. Most often: {reason}", rows=rows)


def _refuse_changed_files(task_input: TaskInput, ctx: StepContext) -> None:
    """Raise InputError if files changed after the artifact was named by their content."""
    node = task_input.node
    if node.stage == "ingest" and node.step.inputs(ctx) != task_input.resolved.spec.inputs:
        raise InputError(
            f"the files of {node.name} were changed while they were read; run again once "
            "they are whole"
        )


def _workspace(task_input: TaskInput) -> Path:
    """The folder in which work on the artifact survives a crash.

    Partitions may use a folder of their own, which all workers of a cluster can read.
    """
    folder = task_input.resolved.ctx.config.runner.folder
    if folder and not task_input.node.step.folder:
        return Path(folder) / task_input.artifact_id
    return task_input.store.home / "training" / task_input.artifact_id


def _after_commit(store: Store, ref: ArtifactRef, workspace: Path) -> None:
    """What follows a commit, also if a run was killed right after it."""
    remove_workspace(workspace)
    if ref.kind == "checkpoint":
        write_model_card(store, ref.artifact_id)
