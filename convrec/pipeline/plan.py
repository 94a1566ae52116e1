"""`convrec plan`: what a run would do and what it would cost, without doing it.

Walks the pipeline as data. What is stored is cached; what is not, but needs neither an answer nor
training (ingest, remap), is computed in memory, so that the requests that would be sent are counted
rather than guessed. Nothing is written, but for answers that a process had when it was killed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from convrec.config import DATA_STAGES
from convrec.config.schema import source_config
from convrec.pipeline.sources import adopted

if TYPE_CHECKING:
    import polars as pl

    from convrec.artifacts import ArtifactRef, Store
    from convrec.config import Config
    from convrec.llm.estimate import CostEstimate
    from convrec.llm.requests import Request
    from convrec.pipeline.graph import Node
    from convrec.stages.base import StepContext

IN_MEMORY = frozenset({"ingest", "recommend", "remap"})
"""Stages cheap enough to be computed for a plan, once their answers are stored."""


SAMPLE = 2000
"""Conversations from which the length of a title line is taken."""

TYPICAL_LINE = 21
"""Bytes of "Title (year)" where the conversations name nothing."""


@dataclass
class PlanBuilder:
    """A plan in the making: what is known of each node so far."""

    config: Config
    store: Store
    refs: dict[str, ArtifactRef] = field(default_factory=dict)
    frames: dict[str, pl.DataFrame] = field(default_factory=dict)
    stages: list[dict[str, Any]] = field(default_factory=list)
    llm: dict[str, dict[str, Any]] = field(default_factory=dict)

    def visit(self, node: Node) -> None:
        """Decide whether the node is cached, and what it would ask."""
        from convrec.artifacts import ArtifactRef
        from convrec.stages.base import StepContext
        from convrec.stages.fingerprint import find_cached, fingerprint

        reads = node.reads_in(self.config)
        names = [name for name in reads.values() if name in self.wanted or name not in node.reads]
        known = all(name in self.refs for name in names)
        readable = known and all(self._readable(name) for name in names)
        parents = {role: self.refs[n] for role, n in reads.items() if n in self.refs}
        frames = {role: self.frames[n] for role, n in reads.items() if n in self.frames}
        ctx = StepContext(self.config, self.store, parents, frames=frames)
        missing = None
        asks = node.step.asks(self.config)
        current = (
            find_cached(self.store, fingerprint(node.step, ctx)) if asks and not frames else None
        )
        if current:
            missing = 0
        elif asks:
            ask = self._embeddings if node.stage == "remap" else self._price
            with self.store.let_go():
                missing = ask(node, ctx if readable else None)
        pin = node.pin(self.config)
        stored = self.store.pinned(pin) if pin else current.ref if current else None
        if stored is None and known and not missing and (not asks or readable):
            name = node.step.spec(ctx).artifact_id
            stored = self.store.find(name)
            if missing in (None, 0):
                self.refs[node.name] = stored or ArtifactRef(
                    artifact_id=name, kind=node.step.kind, stage=node.stage, rows=0
                )
        elif stored is not None:
            self.refs[node.name] = stored
        cached = stored is not None and not stored.partial and not missing
        useful = node.stage != "remap" or "teacher_lists" in self.refs  # else nothing reads it
        if not cached and readable and not missing and useful and node.stage in IN_MEMORY:
            with self.store.let_go(), closing(node.step.build(ctx)) as built:
                self.frames[node.name] = built.rows
        self.stages.append(
            {
                "stage": node.stage,
                "kind": node.step.kind,
                "state": "cached" if cached else "would_run",
                "contexts": 0 if cached else self._contexts(node.stage),
            }
        )

    def source(self, name: str) -> None:
        """Walk the data stages of a source, and take over what is known of it."""
        from convrec.pipeline.graph import PIPELINE

        part = PlanBuilder(source_config(self.config, name), self.store, stages=self.stages, llm={})
        for node in PIPELINE:
            if node.stage in DATA_STAGES and not node.skipped(part.config):
                part.visit(node)
        self.refs |= adopted(name, part.refs)
        self.frames |= adopted(name, part.frames)
        for role, figures in part.llm.items():
            before = self.llm.setdefault(role, dict.fromkeys(figures, 0))
            self.llm[role] = {key: before[key] + value for key, value in figures.items()}

    @property
    def wanted(self) -> set[str]:
        """The nodes that this configuration does not skip."""
        from convrec.pipeline.graph import PIPELINE

        return {node.name for node in PIPELINE if not node.skipped(self.config)}

    def _readable(self, name: str) -> bool:
        return name in self.frames or self.store.find(self.refs[name].artifact_id) is not None

    @property
    def ctx(self) -> StepContext:
        """What is known so far, as a step would read it: each node by its own name."""
        from convrec.stages.base import StepContext

        return StepContext(self.config, self.store, self.refs, frames=self.frames)

    def _contexts(self, stage: str) -> int:
        """Contexts that a stage goes through: train for training, test for evaluate, else all."""
        import polars as pl

        split = {"sft": "train", "rank_grpo": "train", "evaluate": "test"}.get(stage)
        if "conversations" not in self.refs:
            return 0
        rows = self.ctx.frame("conversations", "context_id", "split")
        return (rows.filter(pl.col("split") == split) if split else rows)["context_id"].n_unique()

    def _price(self, node: Node, ctx: Any) -> int | None:
        """Record the requests, tokens and dollars of a node; how many answers it lacks."""
        from convrec.llm.estimate import CostEstimate, estimate
        from convrec.llm.read import unanswered
        from convrec.llm.requests import distinct
        from convrec.stages.reflect import typical_bytes

        role = "teacher" if node.stage == "recommend" else "judge"
        if ctx is None:
            self.llm[role] = self._judge_range()
            return None
        source = (self.config.recommend if role == "teacher" else self.config.reflect).source
        sends = source in ("live", "batch")
        asked, count = distinct(node.step.requests(ctx)), 0  # type: ignore[misc]

        def missing() -> Iterator[Request]:
            nonlocal count
            for request in unanswered(asked, self.store):
                count += 1
                yield request

        if sends:
            scale, listed = self.config.reflect.scale, self._list_bytes(ctx)
            bracket = estimate(
                missing(),
                config=self.config,
                store=self.store,
                stage=node.stage,
                kind="titles" if role == "teacher" else "ratings",
                answer_bytes=lambda body: (
                    listed if role == "teacher" else typical_bytes(body, scale)
                ),
                batch=source == "batch",
            )
        else:
            bracket, count = CostEstimate(), sum(1 for _ in missing())
        self.llm[role] = _figures(count if sends else 0, bracket)  # else a file is read
        return count

    def _embeddings(self, node: Node, ctx: Any) -> int | None:
        """Record what embedding costs, where an endpoint does it; how many texts lack a vector."""
        from convrec.stages.base import StepContext
        from convrec.stages.remap import estimate_embedding_cost

        frames = {role: self.ctx.frame(role) for role in ("catalog", "conversations")}
        made = estimate_embedding_cost(ctx or StepContext(self.config, self.store, frames=frames))
        if self.config.remap.similarity == "openai":
            self.llm["embeddings"] = _figures(made.requests, made.bill)
        return made.texts if ctx else None

    def _list_bytes(self, ctx: Any) -> float:
        """Bytes of a typical list: N lines as long as those of the films that people name."""
        named = ctx.frame("conversations", "ground_truth", "seen")
        lines = [
            len(self.config.line_format.format(item["title"], item["year"]))
            for row in named.head(SAMPLE).iter_rows()
            for items in row
            for item in items or []
        ]
        mean = sum(lines) / len(lines) if lines else TYPICAL_LINE
        return self.config.list_length * (mean + 1)

    def _judge_range(self) -> dict[str, Any]:
        """The judge's bill before candidates are known: between the shortest and longest lines."""
        from convrec.llm.endpoint import endpoint_name
        from convrec.llm.estimate import CostEstimate, estimate
        from convrec.llm.requests import Request
        from convrec.stages.ingest.contexts import contexts
        from convrec.stages.reflect import judge_body, typical_bytes

        items = self.ctx.frame("catalog", "title", "year").iter_rows()
        write = self.config.line_format.format
        lines = sorted((write(title, year) for title, year in items), key=len)
        talks = contexts(self.ctx)
        top = self.config.reflect.top
        endpoint = endpoint_name(self.config)
        batch = self.config.reflect.source == "batch"

        def bracket(shown: list[str]) -> CostEstimate:
            requests = (
                Request(owner, endpoint, judge_body(talk, shown, self.config))
                for owner, talk in talks.iter_rows()
            )
            return estimate(
                requests,
                config=self.config,
                store=self.store,
                stage="reflect",
                answer_bytes=lambda body: typical_bytes(body, self.config.reflect.scale),
                sure=True,
                batch=batch,
            ).times(self.config.reflect.passes)  # of the same length, though in another order

        asked_before = self._asked(self.config.reflect.model, endpoint)
        low = 0.0 if asked_before else bracket(lines[:top]).usd_low
        high = bracket(lines[-top:])
        low *= 1 - self.config.llm.max_failures
        return _figures(
            talks.height * self.config.reflect.passes,
            CostEstimate(low, high.usd_high, high.prompt_tokens, high.completion_tokens),
        )

    def _asked(self, model: str, endpoint: str) -> bool:
        with self.store.read_connection() as connection:
            found = connection.execute(
                "SELECT count(*) FROM llm_answers WHERE model = ? AND endpoint = ?",
                [model, endpoint],
            ).fetchone()
        return found != (0,)


def _figures(requests: int, bracket: CostEstimate) -> dict[str, Any]:
    return {
        "requests": requests,
        "usd_low": bracket.usd_low,
        "usd_high": bracket.usd_high,
        "prompt_tokens": round(bracket.prompt_tokens),
        "completion_tokens": round(bracket.completion_tokens),
    }


def make_plan(config: Config, store: Store) -> dict[str, Any]:
    """The plan of a run, as `convrec plan --json` writes it. Raises InputError."""
    made = walk(config, store)
    return {"profile": config.profile, "stages": made.stages, "llm": made.llm}


def walk(config: Config, store: Store) -> PlanBuilder:
    """The pipeline gone through without running it. Raises InputError."""
    from convrec.llm.estimate import CostEstimate
    from convrec.llm.response_store import ResponseStore
    from convrec.pipeline.graph import PIPELINE

    ResponseStore(store)  # saves what crashed processes left in the spool
    made = PlanBuilder(config, store)
    made.llm = {"teacher": _figures(0, CostEstimate()), "judge": _figures(0, CostEstimate())}
    with store.reading():
        for name in config.sources:
            made.source(name)
        for node in PIPELINE:
            if not node.skipped(config):
                made.visit(node)
    return made
