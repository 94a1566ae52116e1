"""One run of a flow: what was asked for, what each stage made, and the summary of it all."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import time
from collections.abc import Mapping
from contextvars import ContextVar
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from prefect import Task
from prefect.runtime import flow_run

from convrec import config as configuration
from convrec.artifacts import ArtifactRef, ArtifactSpec, Job, Store
from convrec.artifacts.current import Current, find_current, mark, note_current
from convrec.artifacts.runs import COMPLETED, Used, close_run, note_artifact, open_run
from convrec.catalog.versions import fixed, load_checked
from convrec.config import DATA_STAGES, STAGES, Config, StageName
from convrec.errors import ConfigError, ConvrecError, InputError
from convrec.pipeline import NODES, Node, of_stage
from convrec.sources import adopted, source_config
from tasks import failure
from tasks.cache import records
from tasks.events import event

LLM_FIGURES = ("requests", "from_ledger", "sent", "prompt_tokens", "completion_tokens", "usd")


class Watcher(Protocol):
    """Whoever follows a run as it goes, as the command line does."""

    def progress(self, name: str, done: int, total: int, text: str) -> None:
        """A long step is at `done` of `total`."""

    def ended(self, entry: Mapping[str, Any], note: str) -> None:
        """An artifact was made, found or skipped; `note` says why it was skipped."""


class _Nobody:
    def progress(self, name: str, done: int, total: int, text: str) -> None:
        """Not watched."""

    def ended(self, entry: Mapping[str, Any], note: str) -> None:
        """Not watched."""


watcher: ContextVar[Watcher] = ContextVar("watcher", default=_Nobody())  # noqa: B039


def secret(block: str) -> str:
    """The API key in a Prefect Secret block; empty without a name. Raises ConfigError."""
    if not block:
        return ""
    from prefect.blocks.system import Secret

    try:
        return str(Secret.load(block).get())
    except ValueError:
        raise ConfigError(
            f"llm.secret={block!r}: there is no Prefect Secret block of this name; make it in the "
            "UI under Blocks, or leave llm.secret empty and set OPENAI_API_KEY"
        ) from None


class Order:
    """What a task needs to make one artifact. A plain class, so that Prefect does not walk it."""

    def __init__(self, run: Run, node: Node, parents: Mapping[str, ArtifactRef]) -> None:
        self.node = node
        self.config = node.adapt(run.config)
        self.store = run.store
        self.parents = parents
        self.refresh = run.refreshes(node.stage)
        self.reasons: Mapping[str, str] = {}  # context → why this run got no answer for it
        self.found = False  # by the task, which Prefect had no record of: another host made it
        self._run = run
        self._spec: ArtifactSpec | None = None
        self._pinned = run.pinned(node)

    @cached_property
    def mark(self) -> str:
        """Under which the artifact may be known to be current (`convrec.artifacts.current`)."""
        return mark(self.node.step, Job(self.config, self.store, self.parents))

    @cached_property
    def current(self) -> Current | None:
        """The complete artifact of this mark; None where it is to be looked for, or recomputed."""
        found = find_current(self.store, self.mark)  # the mark is of before the artifact is named
        return None if self.refresh else found

    @property
    def spec(self) -> ArtifactSpec:
        """The identity of the artifact; stored answers must be there before it is asked for."""
        if self._spec is None:
            self._spec = self.node.step.spec(Job(self.config, self.store, self.parents))
        return self._spec

    @property
    def artifact_id(self) -> str:
        """The id of the artifact, which is the Prefect cache key."""
        if self._pinned:
            return self._pinned.artifact_id
        return self.current.ref.artifact_id if self.current else self.spec.artifact_id

    def watch(self, done: int, total: int, text: str) -> None:
        """Tell the watcher how far the step is."""
        watcher.get().progress(self.node.name, done, total, text)

    def ask(self, progress: Any) -> dict[str, Any]:
        """Get the answers that the step still lacks; figures of the calls, reasons by context."""
        if self.current:
            requests = self.current.requests
            nothing = {**dict.fromkeys(LLM_FIGURES, 0), "usd": 0.0, "failed": 0, "reasons": {}}
            return {**nothing, "requests": requests, "from_ledger": requests}
        from convrec.llm.ask import ask

        fetched = ask(
            self.node.step,
            Job(self.config, self.store, self.parents, progress),
            run=self._run.run_id,
            spent_usd=self._run.spent(),
            progress=progress,
            key=secret(self.config.llm.secret),
        )
        figures = {name: getattr(fetched, name) for name in LLM_FIGURES}
        return {**figures, "failed": len(fetched.failures), "reasons": dict(fetched.reasons)}


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
        self.config: Config = fixed(config, self.store)
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
                failure.leave(self._place.run or self, self._place.node, error)

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
            asked = [ask(Order(self, node, parents), parents, return_state=True)]
            figures = asked[0].result()
            for figure in LLM_FIGURES:
                self.llm[figure] += figures[figure]
            asked_for = {figure: figures[figure] for figure in LLM_FIGURES}
            event(f"answers for {node.name}", self.run_id, **asked_for)
        order = Order(self, node, parents)
        order.reasons = figures["reasons"] if asked else {}
        options: dict[str, Any] = {"result_storage": records(self.store.home)}
        if order.refresh:
            options["refresh_cache"] = True
        state = task.with_options(**options)(order, parents, return_state=True, wait_for=asked)
        ref = ArtifactRef.model_validate(state.result())
        if name_of_pin := node.pin(self.config):
            self.store.pin(name_of_pin, ref.artifact_id)
        if asked and order.mark and not order.current and not ref.partial:
            note_current(self.store, order.mark, ref.artifact_id, figures["requests"])
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
                order = Order(self, node, self.parents(node))
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
        from convrec.evaluate import metrics_json
        from convrec.llm.ledger import billed

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
            used = Used(node.name, ref.artifact_id, state, entry["seconds"])
            note_artifact(self.store, self.run_id, used)
        watcher.get().ended(entry, note)
