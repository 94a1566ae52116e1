"""`convrec evaluate --checkpoint`: an external checkpoint as one more system of the evaluation.

The checkpoint is a model folder (transformers or PEFT, trained anywhere) or the id of a checkpoint
in the warehouse. Its lists use the prompt and the sampler of the evaluated profile. `free` and
`served` are lists of this checkpoint, too; a folder is served with the settings of the profile.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from convrec.artifacts import ArtifactRef, Store
from convrec.config import resolve_path
from convrec.errors import InputError
from convrec.pipeline.graph import NODES, Node
from convrec.stages.evaluate import FREE_GENERATIONS, GENERATIONS, SERVED_GENERATIONS
from convrec.stages.evaluate.generations import ExternalSteps, external_checkpoint_steps

GENERATIONS_ROLE = "generations_checkpoint"
CHECKPOINT_ROLE = "checkpoint_given"


class ExternalCheckpoint(NamedTuple):
    """The nodes that evaluate an external checkpoint; `ref` is None for a folder."""

    generations: tuple[Node, ...]
    metrics: Node
    report: Node
    ref: ArtifactRef | None


def external_checkpoint(store: Store, checkpoint: str) -> ExternalCheckpoint:
    """Return the nodes for a model folder or a checkpoint id. Raises InputError for neither."""
    folder = resolve_path(checkpoint, "--checkpoint")
    parents = {"conversations": "conversations"}
    if folder.is_dir():
        ref, steps = None, external_checkpoint_steps(folder.resolve())
        parents["catalog"] = "catalog"
    else:
        ref = _find_checkpoint(store, checkpoint)
        steps = ExternalSteps(GENERATIONS, FREE_GENERATIONS, SERVED_GENERATIONS)
        parents["checkpoint"] = CHECKPOINT_ROLE
    roles = (GENERATIONS_ROLE, "generations_free", "generations_served")
    lists = {role: role for role in roles}
    return ExternalCheckpoint(
        generations=tuple(
            Node(role, step, parents) for role, step in zip(roles, steps, strict=True)
        ),
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
