"""One run of a flow: its configuration, what each stage made, and the summary of it all."""

from __future__ import annotations

import contextlib
import copy
import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from prefect import Task
from prefect.runtime import flow_run
from prefect.settings import get_current_settings

from convrec import config as configuration
from convrec.artifacts import ArtifactRef, Store
from convrec.artifacts.lineage import FailedNode
from convrec.artifacts.runs import COMPLETED, RunArtifact, add_run_artifact, finish_run, start_run
from convrec.catalog.selection import load_with_catalog, pin_version
from convrec.config import DATA_STAGES, STAGES, Config, StageName
from convrec.config.schema import source_config
from convrec.errors import ConvrecError, InputError
from convrec.llm.ledger import billed_usage, spent_usd
from convrec.pipeline.graph import Node, nodes_of
from convrec.pipeline.node_state import ResolvedNode, Resolver
from convrec.pipeline.sources import adopted
from convrec.stages.base import ANSWERS_USABLE
from convrec.stages.evaluate import metrics_json
from convrec.stages.fingerprint import record_cached
from convrec.utils.files import atomic_path
from tasks.cache import result_records
from tasks.diagram import LINEAGE, diagram
from tasks.failure import convrec_command, publish_failure
from tasks.fetch import LLM_FIGURES
from tasks.listener import listener
from tasks.publish import publish_markdown
from tasks.run_log import event
from tasks.task_input import TaskInput


class CurrentNode:
    """The node that a run is making, and the run (its own or a source's) that it makes it for."""

    def __init__(self) -> None:
        self.run: Run | None = None
        self.node: Node | None = None


class Run:
    """A flow's run: `with Run(profile, overrides) as run:`, then one stage after the other.

    Raises ConfigError for a profile, key or value that is not allowed, CatalogError for a catalog
    that does not exist, WarehouseError for a warehouse that cannot be used.
    """

    def __init__(
        self,
        profile: str,
        overrides: Mapping[str, Any] | None = None,
        *,
        until: StageName | None = None,
        refresh: StageName | None = None,
    ) -> None:
        config = load_with_catalog(profile, overrides)
        self.profile = profile
        self.store = Store(configuration.home())
        self.resolver = Resolver(pin_version(config, self.store), self.store)
        self.run_id = str(flow_run.id or "")
        self.entries: list[dict[str, Any]] = []
        self.llm: dict[str, Any] = dict.fromkeys(LLM_FIGURES, 0)
        self.llm["usd"] = 0.0
        self._overrides = dict(overrides or {})
        self._current = CurrentNode()
        self._until = STAGES.index(until) if until else len(STAGES)
        self._refresh = STAGES.index(refresh) if refresh else len(STAGES)

    @property
    def config(self) -> Config:
        """The configuration of the run."""
        return self.resolver.config

    @property
    def refs(self) -> dict[str, ArtifactRef]:
        """Node → its artifact, for the nodes made or found so far."""
        return self.resolver.refs

    def __enter__(self) -> Run:
        if self.run_id:
            start_run(
                self.store,
                self.run_id,
                flow=str(flow_run.flow_name or ""),
                profile=self.config.profile,
                overrides=self._overrides,
                config=self.config.model_dump(mode="json"),
            )
        event("run started", self.run_id, profile=self.config.profile)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._write_record(COMPLETED if kind is None else kind.__name__)
        except (ConvrecError, OSError):
            if error is None:
                raise  # otherwise the error that ended the run says more
        if isinstance(error, Exception):
            with contextlib.suppress(Exception):  # such as an unreachable server
                self._publish_failure(error)

    def _publish_failure(self, error: Exception) -> None:
        run, node = self._current.run or self, self._current.node
        parents = run.resolver.context(node).parents if node else {}  # works without a warehouse
        publish_failure(error, node, parents, store=run.store, profile=run.profile)
        if node is not None:
            title = f"{node.stage}: {node.name.replace('_', ' ')}"
            failed = FailedNode(title, [ref.artifact_id for ref in parents.values()])
            drawn = diagram(run.store, run.refs, run.entries, run.run_id, failed)
            publish_markdown(drawn, *LINEAGE)

    def _write_record(self, outcome: str) -> None:
        """Record in the warehouse and in a file how the run ended."""
        if self.run_id:
            finish_run(self.store, self.run_id, outcome)
        event("run ended", self.run_id, outcome=outcome)
        folder = self.store.home / "runs"
        folder.mkdir(exist_ok=True)
        record = {
            **self.summary(),
            "outcome": outcome,
            "config": self.config.model_dump(mode="json"),
        }
        path = folder / f"{self.run_id or int(time.time())}.json"
        with atomic_path(path) as part:
            part.write_text(json.dumps(record, indent=2, default=str), encoding="utf-8")

    # -- what stages use -----------------------------------------------------------------------

    def make(
        self, node: Node, task: Task[..., Any], fetch_task: Task[..., Any] | None = None
    ) -> None:
        """Run the task of a node, after `fetch_task` got the LLM responses that it misses."""
        started = time.monotonic()
        if reason := self.skipped(node):
            self._record(node, "skipped", None, started, reason)
            return
        self._current.run, self._current.node = self, node
        fetched = []
        figures: dict[str, Any] = {"reasons": {}}
        if fetch_task is not None:
            task_input = TaskInput(self.resolve(node))
            fetched = [
                fetch_task(
                    task_input, task_input.parents, self.run_id, self.spent(), return_state=True
                )
            ]
            figures = fetched[0].result()
            for figure in LLM_FIGURES:
                self.llm[figure] += figures[figure]
            counts = {figure: figures[figure] for figure in LLM_FIGURES}
            event(f"answers for {node.name}", self.run_id, **counts)
        task_input = TaskInput(self.resolve(node), figures["reasons"])
        options: dict[str, Any] = {"result_storage": result_records(self.store.home)}
        if task_input.refresh:
            options["refresh_cache"] = True
        state = task.with_options(**options)(
            task_input, task_input.parents, return_state=True, wait_for=fetched
        )
        ref = ArtifactRef.model_validate(state.result())
        if pin := node.pin(self.config):
            self.store.pin(pin, ref.artifact_id)
        resolved = task_input.resolved
        if fetched and resolved.fingerprint and not resolved.cached and not ref.partial:
            record_cached(self.store, resolved.fingerprint, ref.artifact_id, figures["requests"])
        self.refs[node.name] = ref
        cached = state.name == "Cached" or task_input.found
        self._record(node, "cached" if cached else "completed", ref, started)
        self._current.run = self._current.node = None

    def require_stored(self, *stages: StageName) -> None:
        """Take the stored artifacts of earlier stages; build nothing and send nothing.

        Raises InputError if one is missing because the data changed since it was built.
        """
        for node in (node for stage in stages for node in nodes_of(stage)):
            started = time.monotonic()
            if reason := self.skipped(node):
                if not node.optional:
                    self._record(node, "skipped", None, started, reason)
                continue
            ref = self.resolve(node).find()
            if ref is None:
                until = [("--until", stages[-1])]
                command = convrec_command(["run", self.profile], until, self._overrides)
                trained = "" if stages[-1] in DATA_STAGES else " and train"
                raise InputError(
                    f"{node.name} of profile {self.config.profile} is not built for these "
                    f"inputs and settings; run `{command}` or its deployments "
                    f"build-sft-data{trained} first"
                )
            self.refs[node.name] = ref
            self._record(node, "cached", ref, started)
        for name in self.config.sources:
            source = self.source(name)
            source.require_stored(*(stage for stage in stages if stage in DATA_STAGES))
            self.take(name, source)

    def take_stored(self, *stages: StageName) -> None:
        """Take the stored artifacts of some stages and leave out the others."""
        for node in (node for stage in stages for node in nodes_of(stage)):
            if self.skipped(node) or self.resolver.missing_inputs(node):
                continue
            if (ref := self.resolve(node).find()) is not None:
                self.refs[node.name] = ref

    def source(self, name: str) -> Run:
        """The run of a source: this run with the source's configuration."""
        source = copy.copy(self)
        source.resolver = Resolver(source_config(self.config, name), self.store)
        return source

    def take(self, name: str, source: Run) -> None:
        """Take over the artifacts that the run of a source made."""
        self.resolver.refs |= adopted(name, source.refs)

    # -- what tasks and flows ask --------------------------------------------------------------

    def spent(self) -> float:
        """US dollars billed to this flow run, including its earlier attempts."""
        return max(spent_usd(self.store, self.run_id) if self.run_id else 0.0, self.llm["usd"])

    def skipped(self, node: Node) -> str:
        """Why this run goes without the node; empty if it does not."""
        if STAGES.index(node.stage) > self._until:
            return f"after --until {STAGES[self._until]}"
        return node.skipped(self.config)

    def resolve(self, node: Node) -> ResolvedNode:
        """What a node resolves to in this run."""
        everything = bool(get_current_settings().tasks.refresh_cache)
        refresh = everything or STAGES.index(node.stage) >= self._refresh
        return self.resolver.resolve(node, refresh=refresh)

    def limit_budget(self, max_usd: float) -> None:
        """Stop this run before it costs more."""
        llm = self.config.llm.model_copy(update={"max_usd": max_usd})
        self.resolver.config = self.config.model_copy(update={"llm": llm})

    @property
    def report(self) -> Path | None:
        """The HTML report, once it is made."""
        ref = self.refs.get("report")
        return self.store.fetch_folder(ref.artifact_id) / "report.html" if ref else None

    def summary(self) -> dict[str, Any]:
        """What `convrec run --json` writes: stages, requests, figures and the report."""
        llm = {**self.llm, **(billed_usage(self.store, self.run_id) if self.run_id else {})}
        figures: dict[str, Any] = {"metrics": {}, "comparisons": [], "slices": [], "test_set": {}}
        if "metrics" in self.refs:
            name = self.refs["metrics"].artifact_id
            figures = metrics_json(self.store.read(name), self.store.header(name).figures)
        return {
            "flow_run_id": self.run_id,
            "profile": self.config.profile,
            "stages": self.entries,
            "llm": {**llm, "usd": round(llm["usd"], 6)},
            **figures,
            "report": str(self.report) if self.report else None,
        }

    def _answer_figures(self, ref: ArtifactRef) -> dict[str, Any]:
        """How many of the answers behind an artifact could be used, if it says so."""
        usable = self.store.header(ref.artifact_id).figures.get(ANSWERS_USABLE)
        return {"answers_usable": usable} if usable else {}

    def _record(
        self, node: Node, state: str, ref: ArtifactRef | None, started: float, note: str = ""
    ) -> None:
        entry = {
            "stage": node.stage,
            "state": state,
            "artifact_id": ref.artifact_id if ref else None,
            "kind": node.step.kind,
            "rows": ref.rows if ref else None,
            "seconds": round(time.monotonic() - started, 3),
        }
        if ref is not None and node.step.responses is not None:
            entry |= self._answer_figures(ref)
        self.entries.append(entry)
        facts = {name: entry[name] for name in ("stage", "rows", "seconds")}
        event(f"{node.name} {state}", self.run_id, artifact=entry["artifact_id"], **facts)
        if ref is not None and self.run_id:
            used = RunArtifact(node.name, ref.artifact_id, state, entry["seconds"])
            add_run_artifact(self.store, self.run_id, used)
        listener.get().finished(entry, note)
