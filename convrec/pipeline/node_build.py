"""Builds and commits the artifact of a resolved node, in a Prefect task or without Prefect."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from convrec.artifacts import ArtifactRef, Producer, StepResult, Store
from convrec.errors import ConvrecError, InputError, WarehouseError, is_disk_full
from convrec.llm.read import with_reasons
from convrec.pipeline.node_state import ResolvedNode
from convrec.stages.base import Partition, StepContext, build_here
from convrec.stages.evaluate.report.model_card import write_model_card
from convrec.utils.progress import Progress, no_progress, with_pace
from convrec.utils.workspace import remove_workspace


@dataclass(frozen=True)
class BuildOptions:
    """How an artifact is built.

    Attributes:
        missing: Context → why the run got no response for it.
        on_built: Called with the figures before the rows are committed.
    """

    producer: Producer = field(default_factory=Producer)
    missing: Mapping[str, str] = field(default_factory=dict)
    progress: Progress = no_progress
    spread: Callable[[StepContext, Sequence[Partition]], None] = build_here
    on_built: Callable[[Mapping[str, Any]], None] = lambda figures: None


@dataclass(frozen=True)
class BuiltNode:
    """A committed artifact, its figures, and the seconds that it took."""

    ref: ArtifactRef
    figures: Mapping[str, Any]
    seconds: float


def find_built(resolved: ResolvedNode) -> ArtifactRef | None:
    """The complete stored artifact, unless the node is refreshed; finishes what follows a commit.

    What follows may be missing if a run was killed right after the commit.
    """
    ref = None if resolved.refresh else resolved.find_complete()
    if ref is not None:
        _after_commit(resolved.ctx.store, ref, workspace_folder(resolved))
    return ref


def build_node(resolved: ResolvedNode, options: BuildOptions) -> BuiltNode:
    """Build the artifact and commit it.

    Raises InputError for a result that a run cannot go on with and for files that changed
    meanwhile, WarehouseError for a full disk, and what the step raises.
    """
    started = time.monotonic()
    node, store = resolved.node, resolved.ctx.store
    workspace = workspace_folder(resolved)
    scratch = store.make_scratch_folder() if node.step.folder else None
    if resolved.refresh:
        remove_workspace(workspace)
    ctx = _build_context(resolved, options, scratch)
    try:
        built = node.step.build(ctx)
        with closing(_with_reasons(built, options.missing)) as result:
            options.on_built(result.figures)
            _refuse_useless(result)
            _refuse_changed_files(resolved, ctx)
            seconds = time.monotonic() - started
            ref = store.put(
                resolved.spec,
                result,
                producer=options.producer,
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
    return BuiltNode(ref, result.figures, seconds)


def _build_context(
    resolved: ResolvedNode, options: BuildOptions, scratch: Path | None
) -> StepContext:
    is_training = resolved.node.step.kind == "checkpoint"  # tells its own pace
    return replace(
        resolved.ctx,
        progress=options.progress if is_training else with_pace(options.progress),
        scratch=scratch,
        workspace=workspace_folder(resolved),
        rebuild=resolved.refresh,
        artifact_id=resolved.artifact_id,
        flow_run_id=options.producer.flow_run_id,
        spread=options.spread,
    )


def workspace_folder(resolved: ResolvedNode) -> Path:
    """The folder in which work on the artifact survives a crash.

    Partitions may use a folder of their own, which all workers of a cluster can read.
    """
    folder = resolved.ctx.config.runner.folder
    if folder and not resolved.node.step.folder:
        return Path(folder) / resolved.artifact_id
    return resolved.ctx.store.home / "training" / resolved.artifact_id


def _with_reasons(result: StepResult, missing: Mapping[str, str]) -> StepResult:
    """The result, with this run's reasons for the responses that are missing."""
    if result.failures is None or not missing:
        return result
    return replace(result, failures=with_reasons(result.failures, missing))


def _refuse_useless(result: StepResult) -> None:
    """Raise InputError if a run must not go on with a result."""
    if not result.useless:
        return
    if result.failures is None or result.failures.is_empty():
        raise InputError(result.useless)
    rows = result.failures.select("context_id", "reason").rows()
    ((reason, _),) = Counter(reason for _, reason in rows).most_common(1)
    raise InputError(f"{result.useless}. Most often: {reason}", rows=rows)


def _refuse_changed_files(resolved: ResolvedNode, ctx: StepContext) -> None:
    """Raise InputError if files changed after the artifact was named by their content."""
    node = resolved.node
    if node.stage == "ingest" and node.step.inputs(ctx) != resolved.spec.inputs:
        raise InputError(
            f"the files of {node.name} were changed while they were read; run again once "
            "they are whole"
        )


def _after_commit(store: Store, ref: ArtifactRef, workspace: Path) -> None:
    """What follows a commit, also if a run was killed right after it."""
    remove_workspace(workspace)
    if ref.kind == "checkpoint":
        write_model_card(store, ref.artifact_id)
