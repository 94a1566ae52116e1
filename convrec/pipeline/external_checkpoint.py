"""A checkpoint that the profile did not train, among its systems: `convrec evaluate --checkpoint`.

It is a folder (of transformers or PEFT, trained anywhere) or the id of a checkpoint in the
warehouse. Its lists are made in the words and with the sampler of the profile that measures it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from convrec.artifacts import ArtifactRef, Store
from convrec.config import resolve_path
from convrec.errors import InputError
from convrec.pipeline.graph import NODES, Node
from convrec.stages.evaluate.generations import GENERATIONS, external_checkpoint_step

LISTS, CHECKPOINT = "generations_checkpoint", "checkpoint_given"


class ExternalCheckpoint(NamedTuple):
    """The nodes that measure a given checkpoint; `ref` where it is one of the warehouse."""

    generations: Node
    metrics: Node
    report: Node
    ref: ArtifactRef | None


def external_checkpoint(store: Store, checkpoint: str) -> ExternalCheckpoint:
    """The nodes for a folder or an id. Raises InputError where it is neither."""
    folder = resolve_path(checkpoint, "--checkpoint")
    reads = {"conversations": "conversations"}
    ref = None
    if folder.is_dir():
        step, reads = external_checkpoint_step(folder.resolve()), {**reads, "catalog": "catalog"}
    else:
        step, reads = GENERATIONS, {**reads, "checkpoint": CHECKPOINT}
        ref = _stored(store, checkpoint)
    return ExternalCheckpoint(
        Node(LISTS, step, reads), _with_lists("metrics"), _with_lists("report"), ref
    )


def _stored(store: Store, checkpoint: str) -> ArtifactRef:
    kind = checkpoint.rpartition("-")[0]
    ref = store.find(checkpoint) if kind == "checkpoint" else None
    if ref is None:
        raise InputError(
            f"--checkpoint {checkpoint} is neither a folder nor a checkpoint of this warehouse; "
            "give the folder of a model, or an id that `convrec artifacts list --kind checkpoint` "
            "shows"
        )
    return ref


def _with_lists(name: str) -> Node:
    node = NODES[name]
    more = {LISTS: LISTS} | ({CHECKPOINT: CHECKPOINT} if name == "report" else {})
    return replace(node, reads={**node.reads, **more})
