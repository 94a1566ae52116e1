"""Which nodes a run still has to make, as far as what is stored tells."""

from __future__ import annotations

import copy

from convrec.artifacts import ArtifactRef
from convrec.config import DATA_STAGES, STAGES, StageName
from convrec.errors import ConvrecError
from convrec.pipeline.graph import PIPELINE, Node
from convrec.pipeline.node_state import Resolver
from tasks.run import Run


def unbuilt_nodes(run: Run) -> list[Node]:
    """The nodes of a run whose artifacts are not stored; makes and changes nothing.

    A node whose inputs are not stored is unbuilt, too. In a warehouse without a checkpoint, all are
    listed: to name the artifacts before training may take a minute, which would answer nothing.
    """
    if not run.store.headers("checkpoint"):
        return [node for node in PIPELINE if not run.skipped(node)]
    trial = copy.copy(run)
    trial.resolver = Resolver(run.config, run.store)
    for name in run.config.sources:
        source = trial.source(name)
        _take_stored(source, DATA_STAGES)
        trial.take(name, source)
    return _take_stored(trial, STAGES)


def is_stored(run: Run, node: Node) -> bool:
    """Whether the run would take the stored artifact of a node."""
    return _find_stored(run, node) is not None


def _take_stored(run: Run, stages: tuple[StageName, ...]) -> list[Node]:
    """Take what is stored of some stages; the nodes that are not."""
    unbuilt = []
    for node in PIPELINE:
        if node.stage not in stages or run.skipped(node):
            continue
        if (ref := _find_stored(run, node)) is None:
            unbuilt.append(node)
        else:
            run.refs[node.name] = ref
    return unbuilt


def _find_stored(run: Run, node: Node) -> ArtifactRef | None:
    if run.resolver.missing_inputs(node):
        return None
    try:
        resolved = run.resolve(node)
        return None if resolved.refresh else resolved.find_complete()
    except (ConvrecError, OSError):  # the stage itself says what is wrong
        return None
