"""`convrec plan`: what a run would do and cost, without doing it.

What is stored is cached. What is not stored, but needs neither responses nor training (ingest,
remap), is computed in memory, so that requests are counted rather than guessed. Nothing is written
except responses that a killed process left in its spool.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from convrec.artifacts import Store
from convrec.config import DATA_STAGES, STAGES, Config, StageName
from convrec.config.schema import source_config
from convrec.llm.estimate import CostEstimate
from convrec.llm.response_store import ResponseStore
from convrec.pipeline.cost import (
    cost_row,
    description_cost_range,
    embedding_cost,
    judge_cost_bound,
    judge_cost_range,
    most_requests,
    response_cost,
    undescribed_items,
)
from convrec.pipeline.graph import Node
from convrec.pipeline.node_state import ResolvedNode, Resolver, unstored
from convrec.pipeline.sources import adopted
from convrec.stages.base import StepContext
from convrec.stages.ingest import is_input_local

IN_MEMORY = frozenset({"ingest", "recommend", "remap"})
"""Stages cheap enough to be computed for a plan, once their responses are stored."""

ROLES = {"teacher_lists": "teacher", "descriptions": "descriptions", "judgments": "judge"}
"""Nodes that read answers, and the names of their costs."""

UNKNOWN_COST = dict.fromkeys(cost_row(0, CostEstimate()))
"""The cost of a role while the data are not downloaded."""

SPLITS_OF_STAGE = {"sft": "train", "rank_grpo": "train", "evaluate": "test"}


@dataclass
class PlanBuilder:
    """A plan under construction: the state of each node and the cost of each role so far."""

    resolver: Resolver
    stages: list[dict[str, Any]] = field(default_factory=list)
    llm: dict[str, dict[str, Any]] = field(default_factory=dict)
    undescribed: pl.Series | None = None
    """Catalog items whose description is missing, if candidates are computed without them."""

    @property
    def ctx(self) -> StepContext:
        """All nodes known so far, each under its own name."""
        known = self.resolver
        return StepContext(known.config, known.store, known.refs, frames=known.frames)

    def add_nodes(self, stages: tuple[StageName, ...] = STAGES) -> None:
        """Plan the nodes of some stages, in order."""
        for node in self.resolver.nodes(stages):
            self.add_node(node)

    def add_node(self, node: Node) -> None:
        """Decide whether a node is cached, and what it would send."""
        known = self.resolver
        resolved = known.resolve(node)
        if node.stage == "ingest" and not resolved.find() and not is_input_local(known.config):
            self._add_remote(node)
            return
        complete = not known.missing_inputs(node)
        readable = complete and self._is_readable(resolved)
        asks = node.step.needs_responses(known.config)
        missing = None
        if asks and resolved.cached:
            missing = 0
        elif asks:
            with known.store.release_connection():
                missing = self._add_cost(node, resolved.ctx if readable else None)
        stored = resolved.pinned or (resolved.cached.ref if asks and resolved.cached else None)
        estimated = bool(missing) and readable and self._is_dispensable(node)
        if estimated:
            known.refs[node.name] = unstored(resolved)
            self.undescribed = undescribed_items(resolved.ctx)
        elif stored is None and complete and not missing and (not asks or readable):
            stored = resolved.find()
            if stored is not None or not self._is_left_out(node):
                known.refs[node.name] = stored or unstored(resolved)
        elif stored is not None:
            known.refs[node.name] = stored
        cached = stored is not None and not stored.partial and not missing
        # Without teacher lists nothing reads what remap would compute.
        of_lists = node.stage in ("recommend", "remap")
        useful = not of_lists or "teacher_lists" in known.refs
        known_rows = readable and (estimated or not missing)
        if not cached and known_rows and useful and node.stage in IN_MEMORY:
            with known.store.release_connection(), closing(node.step.build(resolved.ctx)) as result:
                known.frames[node.name] = result.rows
        self.stages.append(
            {
                "stage": node.stage,
                "kind": node.step.kind,
                "state": "cached" if cached else "would_run",
                "contexts": 0 if cached else self._count_contexts(node.stage),
            }
        )

    def _is_dispensable(self, node: Node) -> bool:
        """Whether candidates are computed without the descriptions that are missing.

        With `reflect.describe` they cannot be: the judge would be asked something else.
        """
        return node.name == "descriptions" and not self.resolver.config.reflect.describe

    def _is_left_out(self, node: Node) -> bool:
        """Whether to leave lists of neighbours to the run: they take long, and nothing is sent."""
        nodes, config = self.resolver.nodes(), self.resolver.config
        sends = any(other.step.needs_responses(config) for other in nodes)
        return node.stage == "recommend" and not sends

    def _add_remote(self, node: Node) -> None:
        """Plan a node whose input would have to be downloaded, which a plan does not do."""
        row = {"stage": node.stage, "kind": node.step.kind, "state": "would_run", "contexts": 0}
        self.stages.append(row)

    def add_source(self, name: str) -> None:
        """Plan the data stages of a source and take over what is known of it."""
        known = self.resolver
        source = PlanBuilder(
            Resolver(source_config(known.config, name), known.store), stages=self.stages
        )
        source.add_nodes(DATA_STAGES)
        known.refs |= adopted(name, source.resolver.refs)
        known.frames |= adopted(name, source.resolver.frames)
        for role, row in source.llm.items():
            total = self.llm.setdefault(role, dict.fromkeys(row, 0))
            is_unknown = None in total.values() or None in row.values()
            keys = () if is_unknown else total | row
            summed = {key: total.get(key, 0) + row.get(key, 0) for key in keys}
            if "requests_high" in summed:
                summed["requests_high"] = most_requests(total) + most_requests(row)
            self.llm[role] = summed or UNKNOWN_COST.copy()

    def _is_readable(self, resolved: ResolvedNode) -> bool:
        """Whether the rows of all parents are stored or in memory."""
        ctx = resolved.ctx
        return all(
            role in ctx.frames or ctx.store.find(ref.artifact_id) is not None
            for role, ref in ctx.parents.items()
        )

    def _count_contexts(self, stage: str) -> int:
        """Contexts that a stage reads: train for training, test for evaluate, otherwise all."""
        if "conversations" not in self.resolver.refs:
            return 0
        rows = self.ctx.frame("conversations", "context_id", "split")
        if split := SPLITS_OF_STAGE.get(stage):
            rows = rows.filter(pl.col("split") == split)
        return rows["context_id"].n_unique()

    def _add_cost(self, node: Node, ctx: StepContext | None) -> int | None:
        """Add a node's cost; the number of missing responses, or None while that is unknown."""
        config = self.resolver.config
        if not {"catalog", "conversations"} <= self.resolver.refs.keys():
            if role := ROLES.get(node.name):
                self.llm[role] = UNKNOWN_COST.copy()
            return None
        if node.name == "candidates":
            cost = embedding_cost(ctx, self.ctx)
            if config.remap.similarity == "openai":
                self.llm["embeddings"] = cost_row(cost.requests, cost.bill)
            return cost.texts if ctx else None
        role = ROLES[node.name]
        if ctx is None:
            cost_range = judge_cost_range if role == "judge" else description_cost_range
            self.llm[role] = cost_range(self.ctx)
            return None
        row, missing = response_cost(node, ctx)
        if role == "judge" and self.undescribed is not None:
            bound = judge_cost_bound(node, ctx, self.undescribed)
            row["usd_high"] = max(row["usd_high"], bound["usd_high"])
            row["requests_high"] = max(row["requests"], bound["requests"])
        self.llm[role] = row
        return missing


def make_plan(config: Config, store: Store) -> dict[str, Any]:
    """The plan of a run, as `convrec plan --json` writes it. Raises InputError."""
    plan = build_plan(config, store)
    return {"profile": config.profile, "stages": plan.stages, "llm": plan.llm}


def build_plan(config: Config, store: Store) -> PlanBuilder:
    """Resolve the whole pipeline without running it. Raises InputError."""
    ResponseStore(store).recover()
    plan = PlanBuilder(Resolver(config, store))
    plan.llm = {"teacher": cost_row(0, CostEstimate()), "judge": cost_row(0, CostEstimate())}
    with store.hold_connection():
        for name in config.sources:
            plan.add_source(name)
        plan.add_nodes()
    return plan
