"""One run of a flow: what was asked for, what each stage made, and the summary of it all."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from prefect import Task
from prefect.runtime import flow_run

from convrec import config as configuration
from convrec.artifacts import ArtifactRef, Store
from convrec.artifacts.runs import COMPLETED, RunArtifact, close_run, note_artifact, open_run
from convrec.catalog.versions import load_checked, pin_version
from convrec.config import DATA_STAGES, STAGES, Config, StageName
from convrec.config.schema import source_config
from convrec.errors import ConvrecError, InputError
from convrec.pipeline.graph import NODES, Node, of_stage
from convrec.pipeline.sources import adopted
from convrec.stages.fingerprint import record_cached
from tasks import failure
from tasks.cache import records
from tasks.events import event
from tasks.task_input import LLM_FIGURES, TaskInput, watcher


class Place:
    """Where a run is: the node that it makes, and the run of the source that it makes it for."""

    def __init__(self) -> None:
        self.run: Run | None = None
        self.node: Node | None = None


class Run:
    """A flow's run: `with Run(profile, overrides) as run:` and then one stage after the other.

    Raises ConfigError for a profile, key or value that is not allowed, CatalogError for a catalog
    that is not there, WarehouseError for a warehouse that cannot be used.
    """

    def __init__(
        self,
        profile: str,
        overrides: Mapping[str, Any] | None = None,
        *,
        until: StageName | None = None,
        refresh: StageName | None = None,
    ) -> None:
        config = load_checked(profile, overrides)
        self.profile = profile
        self.store = Store(configuration.home())
        self.config: Config = pin_version(config, self.store)
        self.run_id = str(flow_run.id or "")
        self.refs: dict[str, ArtifactRef] = {}
        self.entries: list[dict[str, Any]] = []
        self.llm: dict[str, Any] = dict.fromkeys(LLM_FIGURES, 0)
        self.llm["usd"] = 0.0
        self._overrides = dict(overrides or {})
        self._place = Place()
        self._until = STAGES.index(until) if until else len(STAGES)
        self._refresh = STAGES.index(refresh) if refresh else len(STAGES)

    def __enter__(self) -> Run:
        if self.run_id:
            open_run(
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
            self._keep_record(COMPLETED if kind is None else kind.__name__)
        except (ConvrecError, OSError):
            if error is None:
                raise  # else the error that ended the run says more
        if isinstance(error, Exception):
            with contextlib.suppress(Exception):  # a server that is away, say; the error says more
                self._publish_failure(error)

    def _publish_failure(self, error: Exception) -> None:
        run, node = self._place.run or self, self._place.node
        parents = run.parents(node) if node else {}
        failure.leave(error, node, parents, store=run.store, profile=run.profile)

    def _keep_record(self, outcome: str) -> None:
        """Write down, in the warehouse and in a file, how the run ended."""
        if self.run_id:
            close_run(self.store, self.run_id, outcome)
        event("run ended", self.run_id, outcome=outcome)
        folder = self.store.home / "runs"
        folder.mkdir(exist_ok=True)
        record = {
            **self.summary(),
            "outcome": outcome,
            "config": self.config.model_dump(mode="json"),
        }
        path = folder / f"{self.run_id or int(time.time())}.json"
        part = path.with_suffix(".part")
        part.write_text(json.dumps(record, indent=2, default=str), encoding="utf-8")
        os.replace(part, path)

    # -- what stages use -----------------------------------------------------------------------

    def make(
        self, name: str | Node, task: Task[..., Any], ask: Task[..., Any] | None = None
    ) -> None:
        """Have `task` make the artifact of a node, after `ask` got the answers it needs."""
        node = NODES[name] if isinstance(name, str) else name
        started = time.monotonic()
        reason = self.skipped(node)
        if reason:
            self._record(node, "skipped", None, started, reason)
            return
        self._place.run, self._place.node = self, node
        parents = self.parents(node)
        asked = []
        if ask is not None:
            asked = [
                ask(
                    self.task_input(node, parents),
                    parents,
                    self.run_id,
                    self.spent(),
                    return_state=True,
                )
            ]
            figures = asked[0].result()
            for figure in LLM_FIGURES:
                self.llm[figure] += figures[figure]
            asked_for = {figure: figures[figure] for figure in LLM_FIGURES}
            event(f"answers for {node.name}", self.run_id, **asked_for)
        order = self.task_input(node, parents, figures["reasons"] if asked else None)
        options: dict[str, Any] = {"result_storage": records(self.store.home)}
        if order.refresh:
            options["refresh_cache"] = True
        state = task.with_options(**options)(order, parents, return_state=True, wait_for=asked)
        ref = ArtifactRef.model_validate(state.result())
        if name_of_pin := node.pin(self.config):
            self.store.pin(name_of_pin, ref.artifact_id)
        if asked and order.mark and not order.current and not ref.partial:
            record_cached(self.store, order.mark, ref.artifact_id, figures["requests"])
        self.refs[node.name] = ref
        cached = state.name == "Cached" or order.found
        self._record(node, "cached" if cached else "completed", ref, started)
        self._place.run = self._place.node = None

    def reuse(self, *stages: StageName) -> None:
        """Take the artifacts of earlier stages as they are stored; build nothing, ask nobody.

        Raises InputError where one is missing: the data have changed since they were built.
        """
        for stage in stages:
            for node in of_stage(stage):
                started = time.monotonic()
                if reason := self.skipped(node):
                    self._record(node, "skipped", None, started, reason)
                    continue
                order = self.task_input(node, self.parents(node))
                ref = self.store.find(order.artifact_id)
                if ref is None:
                    until = [("--until", stages[-1])]
                    command = failure.typed(["run", self.profile], until, self._overrides)
                    trained = "" if stages[-1] in DATA_STAGES else " and train"
                    raise InputError(
                        f"{node.name} of profile {self.config.profile} is not built for these "
                        f"inputs and settings; run `{command}` or its deployments "
                        f"build-sft-data{trained} first"
                    )
                self.refs[node.name] = ref
                self._record(node, "cached", ref, started)
        for name in self.config.sources:
            part = self.source(name)
            part.reuse(*(stage for stage in stages if stage in DATA_STAGES))
            self.take(name, part)

    def source(self, name: str) -> Run:
        """The run of a source: the same run with the source's configuration."""
        part = copy.copy(self)
        part.config, part.refs = source_config(self.config, name), {}
        return part

    def take(self, name: str, part: Run) -> None:
        """Take over what the run of a source has made."""
        self.refs |= adopted(name, part.refs)

    # -- what tasks and flows ask --------------------------------------------------------------

    def spent(self) -> float:
        """US dollars that this flow run was billed, in earlier attempts too."""
        from convrec.llm.ledger import spent

        return max(spent(self.store, self.run_id) if self.run_id else 0.0, self.llm["usd"])

    def skipped(self, node: Node) -> str:
        """Why this run goes without the node; empty where it does not."""
        if STAGES.index(node.stage) > self._until:
            return f"after --until {STAGES[self._until]}"
        return node.skipped(self.config)

    def parents(self, node: Node) -> dict[str, ArtifactRef]:
        """The references that the node's step reads, by role."""
        reads = node.reads_in(self.config).items()
        return {role: self.refs[name] for role, name in reads if name in self.refs}

    def task_input(
        self,
        node: Node,
        parents: Mapping[str, ArtifactRef],
        reasons: Mapping[str, str] | None = None,
    ) -> TaskInput:
        """What the task of a node gets."""
        return TaskInput(
            node,
            self.config,
            self.store,
            parents,
            refresh=self.refreshes(node.stage),
            pinned=self.pinned(node),
            reasons=reasons,
        )

    def refreshes(self, stage: StageName) -> bool:
        """Whether artifacts of this stage are recomputed though they are stored."""
        from prefect.settings import get_current_settings

        everything = bool(get_current_settings().tasks.refresh_cache)
        return everything or STAGES.index(stage) >= self._refresh

    def pinned(self, node: Node) -> ArtifactRef | None:
        """The artifact that stays in use for this node, unless it is refreshed."""
        name = node.pin(self.config)
        return self.store.pinned(name) if name and not self.refreshes(node.stage) else None

    @property
    def report(self) -> Path | None:
        """The HTML report, once it is made."""
        ref = self.refs.get("report")
        return self.store.fetched(ref.artifact_id) / "report.html" if ref else None

    def summary(self) -> dict[str, Any]:
        """What `convrec run --json` writes: stages, requests, figures and the report."""
        from convrec.llm.ledger import billed
        from convrec.stages.evaluate import metrics_json

        llm = {**self.llm, **(billed(self.store, self.run_id) if self.run_id else {})}
        figures: dict[str, Any] = {"metrics": {}, "comparisons": []}
        if "metrics" in self.refs:
            figures = metrics_json(self.store.read(self.refs["metrics"].artifact_id))
        return {
            "flow_run_id": self.run_id,
            "profile": self.config.profile,
            "stages": self.entries,
            "llm": {**llm, "usd": round(llm["usd"], 6)},
            **figures,
            "report": str(self.report) if self.report else None,
        }

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
        self.entries.append(entry)
        facts = {name: entry[name] for name in ("stage", "rows", "seconds")}
        event(f"{node.name} {state}", self.run_id, artifact=entry["artifact_id"], **facts)
        if ref is not None and self.run_id:
            used = RunArtifact(node.name, ref.artifact_id, state, entry["seconds"])
            note_artifact(self.store, self.run_id, used)
        watcher.get().ended(entry, note)
