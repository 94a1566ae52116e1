"""The stages that read LLM answers, without asking anyone: import answers, read them again.

Both walk the pipeline as far as the judge. What is stored is taken as it is; what is not is made in
memory from the answers at hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from convrec.errors import InputError

if TYPE_CHECKING:
    import polars as pl

    from convrec.artifacts import StepResult, Store
    from convrec.config import Config
    from convrec.llm.replay import Imported
    from convrec.pipeline.graph import Node
    from convrec.stages.base import StepContext

STAGES = ("ingest", "recommend", "remap", "reflect")


def llm_jobs(config: Config, store: Store) -> Iterator[tuple[Node, StepContext]]:
    """Each pipeline node that reads answers, with a job that can be built now.

    Where no list of the teacher is stored there is nothing for the nodes after it.
    """
    from convrec.artifacts import ArtifactRef
    from convrec.pipeline.graph import PIPELINE
    from convrec.stages.base import StepContext

    refs: dict[str, ArtifactRef] = {}
    frames: dict[str, pl.DataFrame] = {}
    for node in PIPELINE:
        if node.stage not in STAGES or node.skipped(config):
            continue
        reads = {role: name for role, name in node.reads.items() if name in refs}
        parents = {role: refs[name] for role, name in reads.items()}
        made = {role: frames[name] for role, name in reads.items() if name in frames}
        ctx = StepContext(config, store, parents, frames=made)
        if node.step.asks(config):
            if node.step.recall is not None:
                node.step.recall(ctx)
            yield node, ctx
            if node.step.settle is not None:
                node.step.settle(ctx)
        pin = node.pin(config)
        pinned = store.pinned(pin) if pin else None
        artifact_id = pinned.artifact_id if pinned else node.step.spec(ctx).artifact_id
        ref = store.find(artifact_id)
        if ref is None:
            frames[node.name] = rows = node.step.build(ctx).rows
            ref = ArtifactRef(
                artifact_id=artifact_id, kind=node.step.kind, stage=node.stage, rows=rows.height
            )
        refs[node.name] = ref
        if ref.kind == "teacher_lists" and not ref.rows:
            return


# -- import ------------------------------------------------------------------------------------


def import_file(file: Path, config: Config | None, stage: str, store: Store) -> list[Imported]:
    """Store the answers of a Batch output file, one summary a stage that they were bound to.

    Without a configuration only requests that are in an open batch are known. Raises InputError
    where no line is for a request of ours, or the file is not Batch output.
    """
    from convrec.llm.batch import BatchStore
    from convrec.llm.replay import import_batch_output

    if config is None:
        done = [import_batch_output(file, BatchStore(store).open_requests(), store)]
    else:
        done = []
        for node, ctx in llm_jobs(config, store):
            if node.step.requests is not None and stage in ("", node.stage):
                # An answer that names only its conversation is the teacher's, unless we are told.
                by_owner = node.stage in ("recommend", stage)
                requests = node.step.requests(ctx)
                done.append(import_batch_output(file, requests, store, by_owner=by_owner))
    if not any(one.bound for one in done):
        raise InputError(
            f"no line of {file} names a request of ours: `custom_id` must be a request key of an "
            "open batch, or with --profile the id of one of that profile's conversations"
        )
    return done


# -- reparse -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reading:
    """What reading the stored answers of a stage again gave.

    `changed` counts contexts whose rows differ from the newest earlier artifact of the kind made
    from the same parents; `state` is `same`, `new` (stored under a new id), or `unversioned`: other
    rows under the same id, because the parser changed and the step's version did not.
    """

    stage: str
    kind: str
    artifact_id: str
    state: str
    contexts: int
    failed: int
    changed: int


def read_again(config: Config, store: Store) -> list[Reading]:
    """Read the stored answers of each stage again and store what is new. Sends nothing.

    Raises InputError where none can be read as a list.
    """
    readings = [_read(node, ctx) for node, ctx in llm_jobs(config, store)]
    if not any(reading.contexts for reading in readings):
        raise InputError(
            f"no answer of the teacher is stored for profile {config.profile}; `convrec run "
            f"{config.profile} --until recommend` asks for them, `convrec llm import` takes a file"
        )
    return readings


def _read(node: Node, ctx: StepContext) -> Reading:
    store, step = ctx.store, node.step
    if step.settle is not None:
        step.settle(ctx)
    built, spec = step.build(ctx), step.spec(ctx)
    known = store.find(spec.artifact_id)
    earlier = spec.artifact_id if known else _earlier(node, ctx)
    changed = _changed(built, store.read(earlier)) if earlier else 0
    state = "same" if known and not changed else "unversioned" if known else "new"
    stored_parents = all(store.find(ref.artifact_id) for ref in ctx.parents.values())
    if state == "new" and stored_parents:
        store.put(spec, built)
    failed = built.failures.height if built.failures is not None else 0
    contexts = built.rows["context_id"].n_unique()
    return Reading(node.stage, step.kind, spec.artifact_id, state, contexts, failed, changed)


def _earlier(node: Node, ctx: StepContext) -> str:
    """The newest artifact of this kind from the same parents; empty if there is none."""
    parents = {role: ref.artifact_id for role, ref in ctx.parents.items()}
    headers = [h for h in ctx.store.headers(node.step.kind) if h.parents == parents]
    return headers[-1].ref.artifact_id if headers else ""


def _changed(built: StepResult, before: pl.DataFrame) -> int:
    """Contexts whose rows differ, whichever side has them."""
    columns = before.columns
    new, old = built.rows.select(columns).hash_rows(), before.hash_rows()
    now, then = (
        frame.select("context_id")
        .with_columns(row=rows)
        .group_by("context_id", maintain_order=True)
        .agg("row")
        for frame, rows in ((built.rows, new), (before, old))
    )
    both = now.join(then, on="context_id", how="full", suffix="_then", coalesce=True)
    return both.filter(both["row"].ne_missing(both["row_then"])).height
