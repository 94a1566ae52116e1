"""What a task run is called in the Prefect UI: `remap · 2,000 contexts · 3f9c`.

The stage, which of its artifacts where it makes several, how much it works on, and the first signs
of the artifact's hash, by which two runs of the same task can be told apart or seen to be the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from convrec.artifacts import ArtifactRef, Store
from convrec.artifacts.identity import short_hash
from convrec.pipeline.graph import Node, of_stage
from convrec.stages.ingest.splits import SPLITS

if TYPE_CHECKING:
    from tasks.task_input import TaskInput

MAIN = "candidates"
"""What remap is there for; its other artifact is named in full."""

_WORKS_ON = {"rank_grpo": ("train",), "evaluate": ("test",)}


def run_name(parameters: Mapping[str, Any]) -> str:
    """The name of the run of an artifact's task."""
    order: TaskInput = parameters["order"]
    try:
        signs = short_hash(order.artifact_id)
    except Exception:  # the task itself is about to fail with the same error
        signs = ""
    return title(order.node, order.parents, order.store, signs)


def asking_name(parameters: Mapping[str, Any]) -> str:
    """The name of the run of a task that asks for answers."""
    order: TaskInput = parameters["order"]
    return title(order.node, order.parents, order.store, "") + " · asking"


def title(node: Node, parents: Mapping[str, ArtifactRef], store: Store, signs: str) -> str:
    """Stage, artifact, size and hash, as far as each is known."""
    alone = len(of_stage(node.stage)) == 1 or node.name == MAIN
    name = "" if alone else node.name.replace("_", " ")
    return " · ".join(
        part for part in (node.stage, name, size(node, parents, store), signs) if part
    )


def size(node: Node, parents: Mapping[str, ArtifactRef], store: Store) -> str:
    """How much the node's step works on, told by its parents; empty where it reads from outside."""
    if node.stage == "sft" and "demonstrations" in parents:
        return f"{parents['demonstrations'].rows:,} demonstrations"
    if "conversations" in parents:
        figures = store.header(parents["conversations"].artifact_id).figures
        splits = _WORKS_ON.get(node.stage, SPLITS)
        return f"{sum(int(figures.get(f'contexts_{split}', 0)) for split in splits):,} contexts"
    return f"{parents['catalog'].rows:,} items" if "catalog" in parents else ""
