"""`convrec evaluate --checkpoint`: an external checkpoint as one more system of the evaluation.

The checkpoint is a model folder (transformers or PEFT, trained anywhere) or the id of a checkpoint
in the warehouse. Its lists use the prompt and the sampler of the evaluated profile.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from convrec.artifacts import ArtifactRef, Store
from convrec.config import resolve_path
from convrec.errors import InputError
from convrec.pipeline.graph import NODES, Node
from convrec.stages.evaluate.generations import GENERATIONS, external_checkpoint_step

GENERATIONS_ROLE = "generations_checkpoint"
CHECKPOINT_ROLE = "checkpoint_given"


class ExternalCheckpoint(NamedTuple):
    """The nodes that evaluate an external checkpoint; `ref` is None for a folder."""

    generations: Node
    metrics: Node
    report: Node
    ref: ArtifactRef | None


def external_checkpoint(store: Store, checkpoint: str) -> ExternalCheckpoint:
    """Return the nodes for a model folder or a checkpoint id. Raises InputError for neither."""
    folder = resolve_path(checkpoint, "--checkpoint")
    parents = {"conversations": "conversations"}
    if folder.is_dir():
        ref, step = None, external_checkpoint_step(folder.resolve())
        parents["catalog"] = "catalog"
    else:
        ref, step = _find_checkpoint(store, checkpoint), GENERATIONS
        parents["checkpoint"] = CHECKPOINT_ROLE
    lists = {GENERATIONS_ROLE: GENERATIONS_ROLE}
    return ExternalCheckpoint(
        generations=Node(GENERATIONS_ROLE, step, parents),
        metrics=_with_parents("metrics", lists),
        report=_with_parents("report", lists | {CHECKPOINT_ROLE: CHECKPOINT_ROLE}),
        ref=ref,
    )


def _find_checkpoint(store: Store, checkpoint: str) -> ArtifactRef:
    kind = checkpoint.rpartition("-")[0]
    ref = store.find(checkpoint) if kind == "checkpoint" else None
    if ref is None:
        raise InputError(
            f"--checkpoint {checkpoint} is neither a folder nor a checkpoint of this warehouse; "
            "pass a model folder, or an id from `convrec artifacts list --kind checkpoint`"
        )
    return ref


def _with_parents(name: str, parents: dict[str, str]) -> Node:
    node = NODES[name]
    return replace(node, reads={**node.reads, **parents})
