"""Makes the Prefect task of a pipeline node: build, commit, and show the figures."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
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
from convrec.errors import ConvrecError, InputError, WarehouseError, no_space
from convrec.llm.read import explained
from convrec.pipeline.graph import NODES, Node
from convrec.stages.base import StepContext
from convrec.stages.evaluate.report.model_card import write_card
from convrec.utils.workspace import discard
from tasks.cache import ArtifactCache
from tasks.dask import on_dask
from tasks.run_names import asking_name, run_name
from tasks.task_input import TaskInput

SHOW_EVERY = 2.0
"""Seconds between two updates of a progress artifact."""


class Progress:
    """Shows how far a long step is: in the Prefect UI, and to whoever else watches."""

    def __init__(self, order: TaskInput, key: str) -> None:
        self.order = order
        self.key = key
        self.artifact: Any = None
        self.text = ""
        self.shown = time.monotonic()

    def __call__(self, done: int, total: int, text: str) -> None:
        """Report `done` of `total`; the UI hears of it at most every SHOW_EVERY seconds."""
        self.order.watch(done, total, text)
        self.text = text
        now = time.monotonic()
        if now - self.shown < SHOW_EVERY:
            return
        self.shown = now
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
    """An artifact key as Prefect allows it: lower case, dashes."""
    return "-".join(words).replace("_", "-")


def may_pass(_task: Any, _run: Any, state: Any) -> bool:
    """Retry only what waiting can mend: a locked warehouse, a full disk, a lost connection."""
    try:
        state.result()
    except (WarehouseError, OSError):
        return True
    except Exception:
        return False
    return False


def artifact_task(name: str | Node, **options: Any) -> Task[..., ArtifactRef]:
    """The cached task of a node, or of the pipeline's node `name`; `options` are Prefect's."""
    node = NODES[name] if isinstance(name, str) else name

    @task(
        name=f"{node.stage}: {node.name}",
        task_run_name=run_name,
        description=f"Makes the {node.step.kind} artifact of stage {node.stage}.",
        cache_policy=ArtifactCache(),
        persist_result=True,
        result_serializer="json",
        **options,
    )
    def make(order: TaskInput, parents: Mapping[str, ArtifactRef]) -> ArtifactRef:
        return build(order)

    return make


def build(order: TaskInput) -> ArtifactRef:
    """Build the artifact of an order, unless another run has committed it meanwhile."""
    node = order.node
    workspace = _workspace(order)
    if not order.refresh and (ref := order.store.find(order.artifact_id)) and not ref.partial:
        order.found = True
        _finish(order.store, ref, workspace)
        return ref
    started = time.monotonic()
    scratch = order.store.scratch() if node.step.folder else None
    progress = Progress(order, slug("progress", node.name))
    if order.refresh:
        discard(workspace)
    ctx = StepContext(
        order.config,
        order.store,
        order.parents,
        progress,
        scratch,
        workspace,
        afresh=order.refresh,
    )
    if order.config.runner.kind == "dask":
        ctx = replace(ctx, spread=on_dask)
    try:
        with closing(_explained(node.step.build(ctx), order)) as built:
            progress.finish()
            _unchanged(order, ctx)
            seconds = time.monotonic() - started
            producer = Producer(str(flow_run.id or ""), str(task_run.id or ""))
            ref = order.store.put(
                order.spec, built, producer=producer, seconds=seconds, scratch=scratch
            )
        _finish(order.store, ref, workspace)
    except Exception as error:  # Rust libraries raise errors of their own for a full disk
        if isinstance(error, ConvrecError) or not no_space(error):
            raise
        raise WarehouseError(
            f"there is no space left for {node.name} in {order.store.home}; free some and run "
            "again, or set CONVREC_HOME to a folder on another disk; what was made before is kept"
        ) from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
    rows = [
        {"figure": "rows", "value": ref.rows},
        {"figure": "seconds", "value": round(seconds, 2)},
    ]
    rows += [{"figure": key, "value": value} for key, value in built.figures.items()]
    create_table_artifact(rows, key=slug(node.name), description=ref.artifact_id)
    return ref


def _explained(built: StepResult, order: TaskInput) -> StepResult:
    """What was built, with the reasons of this run for what was not answered."""
    if built.failures is None or not order.reasons:
        return built
    return replace(built, failures=explained(built.failures, order.reasons))


def _unchanged(order: TaskInput, ctx: StepContext) -> None:
    """Raise InputError where files were changed after the artifact was named by their content."""
    if order.node.stage == "ingest" and order.node.step.inputs(ctx) != order.spec.inputs:
        raise InputError(
            f"the files of {order.node.name} were changed while they were read; run again once "
            "they are whole"
        )


def _workspace(order: TaskInput) -> Path:
    """Where the work on an artifact survives a crash; partitions may want a folder of their own."""
    folder = order.config.runner.folder
    if folder and not order.node.step.folder:
        return Path(folder) / order.artifact_id
    return order.store.home / "training" / order.artifact_id


def _finish(store: Store, ref: ArtifactRef, workspace: Path) -> None:
    """What comes after the commit, also where a run was killed between the two."""
    discard(workspace)
    if ref.kind == "checkpoint":
        write_card(store, ref.artifact_id)


def ask_task(name: str) -> Task[..., dict[str, Any]]:
    """The uncached task that gets the answers a node still lacks; figures of the calls."""
    node = NODES[name]

    @task(
        name=f"{node.stage}: ask for {name}",
        task_run_name=asking_name,
        description="Sends the requests whose answers are not stored yet; sends none twice.",
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=2,
        retry_delay_seconds=[5, 30],
        retry_condition_fn=may_pass,
    )
    def ask(
        order: TaskInput, parents: Mapping[str, ArtifactRef], run_id: str, spent_usd: float
    ) -> dict[str, Any]:
        progress = Progress(order, slug("progress", "ask", name))
        figures = order.ask(progress, run_id=run_id, spent_usd=spent_usd)
        progress.finish()
        if figures["sent"]:
            shown = {key: value for key, value in figures.items() if key != "reasons"}
            rows = [{"figure": key, "value": value} for key, value in shown.items()]
            create_table_artifact(rows, key=slug("ask", name), description="requests of this run")
        return figures

    return ask
