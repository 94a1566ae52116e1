"""Runs stages in this process without Prefect: for notebooks, scripts and `convrec init`.

Artifacts, ids, the cache, stored responses and the record of the run are those of `convrec run`;
there is no flow run, and no key from a Prefect block.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from convrec.artifacts import ArtifactRef, Store
from convrec.artifacts.runs import COMPLETED, RunArtifact, add_run_artifact, finish_run, start_run
from convrec.config import DATA_STAGES, STAGES, Config, StageName
from convrec.config.schema import source_config
from convrec.errors import ConfigError
from convrec.llm.ledger import spent_usd
from convrec.operations.sizing.preflight import refuse_impossible
from convrec.operations.sizing.preflight_lists import refuse_cut_lists
from convrec.pipeline.graph import Node
from convrec.pipeline.node_build import BuildOptions, build_node, find_built
from convrec.pipeline.node_state import Resolver
from convrec.pipeline.sources import adopted
from convrec.stages.fingerprint import record_cached
from convrec.stages.responses import fetch_responses
from convrec.training.optimization import check_optimizer
from convrec.utils.progress import Progress, no_progress

FLOW = "python"
"""What the record of a run names instead of a Prefect flow."""


@dataclass(frozen=True)
class MadeArtifact:
    """An artifact of a run: its node, whether it was stored before, and the seconds it took."""

    node: Node
    ref: ArtifactRef
    cached: bool
    seconds: float


@dataclass
class LocalRun:
    """One run of a configuration; `on_made` is called with each artifact.

    `refs` maps the names of nodes to their artifacts.
    """

    config: Config
    store: Store
    progress: Progress = no_progress
    on_made: Callable[[MadeArtifact], None] = lambda made: None
    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    refs: dict[str, ArtifactRef] = field(default_factory=dict)

    def run(self, until: StageName = STAGES[-1], refresh: StageName | None = None) -> None:
        """Make the artifacts of all stages up to `until`; those that are stored are taken.

        `refresh` recomputes from a stage on; stored responses are never bought again.
        """
        if self.config.llm.secret:
            raise ConfigError(
                f"llm.secret={self.config.llm.secret!r} is a Prefect block, which only "
                "`convrec run` reads; set OPENAI_API_KEY and leave llm.secret empty"
            )
        stages = STAGES[: STAGES.index(until) + 1]
        start_run(
            self.store,
            self.run_id,
            flow=FLOW,
            profile=self.config.profile,
            overrides={},
            config=self.config.model_dump(mode="json"),
        )
        try:
            self._run_stages(stages, refresh)
        except BaseException as error:
            finish_run(self.store, self.run_id, type(error).__name__)
            raise
        finish_run(self.store, self.run_id, COMPLETED)

    def _run_stages(self, stages: tuple[StageName, ...], refresh: StageName | None) -> None:
        resolver = Resolver(self.config, self.store, refs=self.refs)
        data = tuple(stage for stage in stages if stage in DATA_STAGES)
        later = tuple(stage for stage in stages if stage not in DATA_STAGES)
        if later:  # before anything is paid for
            self._check_training(later)
        self._make_nodes(resolver, data, refresh)
        for name in self.config.sources:
            source = Resolver(source_config(self.config, name), self.store)
            self._make_nodes(source, data, refresh)
            self.refs |= adopted(name, source.refs)
        self._make_nodes(resolver, later, refresh)

    def _make_nodes(
        self, resolver: Resolver, stages: tuple[StageName, ...], refresh: StageName | None
    ) -> None:
        first = STAGES.index(refresh) if refresh else len(STAGES)
        for node in resolver.nodes(stages):
            made = self._make(resolver, node, refresh=STAGES.index(node.stage) >= first)
            resolver.refs[node.name] = made.ref
            state = "cached" if made.cached else "completed"
            used = RunArtifact(node.name, made.ref.artifact_id, state, round(made.seconds, 3))
            add_run_artifact(self.store, self.run_id, used)
            self.on_made(made)

    def _make(self, resolver: Resolver, node: Node, *, refresh: bool) -> MadeArtifact:
        started = time.monotonic()
        resolved = resolver.resolve(node, refresh=refresh)
        reasons: dict[str, str] = {}
        requests = 0
        asks = node.step.needs_responses(resolver.config) and not resolved.cached
        if asks:
            fetched = fetch_responses(
                node.step,
                replace(resolved.ctx, progress=self.progress),
                run=self.run_id,
                spent_usd=spent_usd(self.store, self.run_id),
                progress=self.progress,
            )
            reasons, requests = dict(fetched.reasons), fetched.requests
            resolved = resolver.resolve(node, refresh=refresh)
        ref = find_built(resolved)
        cached = ref is not None
        if ref is None:
            options = BuildOptions(missing=reasons, progress=self.progress)
            ref = build_node(resolved, options).ref
        if pin := node.pin(resolver.config):
            self.store.pin(pin, ref.artifact_id)
        if asks and resolved.fingerprint and not ref.partial:
            record_cached(self.store, resolved.fingerprint, ref.artifact_id, requests)
        return MadeArtifact(node, ref, cached, time.monotonic() - started)

    def _check_training(self, stages: tuple[StageName, ...]) -> None:
        """Raise ConfigError or InputError if a training cannot work with these settings."""
        from convrec.models.checks import check_base_model

        refuse_impossible(self.config, stages)
        for stage in ("sft", "rank_grpo"):
            if stage in stages:
                check_optimizer(getattr(self.config, stage), stage)
        check_base_model(self.config, {*stages})
        refuse_cut_lists(self.config)
