"""Names of task runs in the Prefect UI: `remap · 2,000 contexts · 3f9c`.

A name has the stage, the artifact if the stage makes several, the size of the input, and the start
of the artifact's hash, which tells two runs of the same task apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convrec.artifacts import ArtifactRef, Store
from convrec.artifacts.identity import short_hash
from convrec.pipeline.graph import Node, nodes_of
from convrec.stages.ingest.splits import SPLITS
from tasks.task_input import TaskInput

MAIN_NODE = "candidates"
"""The purpose of remap; only its other artifact is named in full."""

_SPLITS_READ = {"rank_grpo": ("train",), "evaluate": ("test",)}


def run_name(parameters: Mapping[str, Any]) -> str:
    """The name of a run of an artifact's task."""
    task_input: TaskInput = parameters["task_input"]
    try:
        short = short_hash(task_input.artifact_id)
    except Exception:  # the task itself is about to fail with the same error
        short = ""
    return title(task_input.node, task_input.parents, task_input.store, short)


def fetch_run_name(parameters: Mapping[str, Any]) -> str:
    """The name of a run of a task that fetches responses."""
    task_input: TaskInput = parameters["task_input"]
    return title(task_input.node, task_input.parents, task_input.store, "") + " · asking"


def title(node: Node, parents: Mapping[str, ArtifactRef], store: Store, short: str) -> str:
    """Stage, artifact, size and hash, as far as each is known."""
    alone = len(nodes_of(node.stage)) == 1 or node.name == MAIN_NODE
    name = "" if alone else node.name.replace("_", " ")
    parts = (node.stage, name, input_size(node, parents, store), short)
    return " · ".join(part for part in parts if part)


def input_size(node: Node, parents: Mapping[str, ArtifactRef], store: Store) -> str:
    """The size of what the node's step reads; empty if it reads no artifact."""
    if node.stage == "sft" and "demonstrations" in parents:
        return f"{parents['demonstrations'].rows:,} demonstrations"
    if "conversations" in parents:
        figures = store.header(parents["conversations"].artifact_id).figures
        splits = _SPLITS_READ.get(node.stage, SPLITS)
        return f"{sum(int(figures.get(f'contexts_{split}', 0)) for split in splits):,} contexts"
    return f"{parents['catalog'].rows:,} items" if "catalog" in parents else ""
