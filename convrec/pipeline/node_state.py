"""What each node of the pipeline resolves to: its inputs, its artifact id, whether that is stored.

`convrec run`, `plan`, `llm reparse` and `evaluate` all ask this module, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import polars as pl

from convrec.artifacts import ArtifactRef, ArtifactSpec, Store
from convrec.config import STAGES, Config, StageName
from convrec.pipeline.graph import PIPELINE, Node
from convrec.stages.base import StepContext
from convrec.stages.fingerprint import CachedArtifact, find_cached, fingerprint


class ResolvedNode:
    """One node under one configuration, with the parents that are known.

    `pinned` is the artifact that stays in use for the node. `refresh` ignores what is stored.
    """

    def __init__(
        self,
        node: Node,
        ctx: StepContext,
        *,
        pinned: ArtifactRef | None = None,
        refresh: bool = False,
    ) -> None:
        self.node = node
        self.ctx = ctx
        self.pinned = pinned
        self.refresh = refresh

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint under which the up-to-date artifact is cached; empty where there is none."""
        return fingerprint(self.node.step, self.ctx)

    @cached_property
    def cached(self) -> CachedArtifact | None:
        """The complete artifact cached under the fingerprint; None if it must be looked up."""
        if self.ctx.frames:  # parents that are not stored have no artifact made from them
            return None
        # Taken before the artifact is named, and kept: responses may be stored in between.
        current = self.fingerprint
        return None if self.refresh else find_cached(self.ctx.store, current)

    @cached_property
    def spec(self) -> ArtifactSpec:
        """The identity of the artifact; the responses that it reads must be stored by now."""
        return self.node.step.spec(self.ctx)

    @property
    def artifact_id(self) -> str:
        """The id of the artifact, which is also its Prefect cache key."""
        if self.pinned:
            return self.pinned.artifact_id
        return self.cached.ref.artifact_id if self.cached else self.spec.artifact_id

    def find(self) -> ArtifactRef | None:
        """The stored artifact, complete or partial."""
        return self.ctx.store.find(self.artifact_id)

    def find_complete(self) -> ArtifactRef | None:
        """The stored artifact if it is up to date, so that nothing needs to be built."""
        ref = self.find()
        return None if ref is None or ref.partial else ref


@dataclass
class Resolver:
    """Resolves nodes in pipeline order, from what is known of those before.

    `refs` maps a node's name to its artifact, `frames` to rows that were computed in memory.
    """

    config: Config
    store: Store
    refs: dict[str, ArtifactRef] = field(default_factory=dict)
    frames: dict[str, pl.DataFrame] = field(default_factory=dict)

    def nodes(self, stages: tuple[StageName, ...] = STAGES) -> Iterator[Node]:
        """The nodes of some stages that this configuration does not skip."""
        for node in PIPELINE:
            if node.stage in stages and not node.skipped(self.config):
                yield node

    def missing_inputs(self, node: Node) -> list[str]:
        """Inputs of a node that are neither skipped nor known."""
        skipped = {other.name for other in PIPELINE if other.skipped(self.config)}
        inputs = node.inputs(self.config).values()
        return [name for name in inputs if name not in self.refs and name not in skipped]

    def context(self, node: Node) -> StepContext:
        """The inputs of a node that are known; does not read the warehouse."""
        inputs = node.inputs(self.config).items()
        return StepContext(
            node.adapt(self.config),
            self.store,
            {role: self.refs[name] for role, name in inputs if name in self.refs},
            frames={role: self.frames[name] for role, name in inputs if name in self.frames},
        )

    def resolve(self, node: Node, *, refresh: bool = False) -> ResolvedNode:
        """The node with the inputs that are known."""
        pin = node.pin(self.config)
        pinned = self.store.pinned(pin) if pin and not refresh else None
        return ResolvedNode(node, self.context(node), pinned=pinned, refresh=refresh)

    def take(self, resolved: ResolvedNode) -> ArtifactRef:
        """Know the node's artifact from now on; one that is not stored is built in memory."""
        node, ref = resolved.node, resolved.find()
        if ref is None:
            self.frames[node.name] = rows = node.step.build(resolved.ctx).rows
            ref = unstored(resolved, rows.height)
        self.refs[node.name] = ref
        return ref


def unstored(resolved: ResolvedNode, rows: int = 0) -> ArtifactRef:
    """A reference to the artifact of a node that is not stored."""
    node = resolved.node
    return ArtifactRef(
        artifact_id=resolved.artifact_id, kind=node.step.kind, stage=node.stage, rows=rows
    )
