"""The record of runs: flow, profile, settings, code revision, and the artifacts that they used.

A run is recorded when it starts, and each artifact as soon as the run has it, so that garbage
collection sees what an unfinished run needs. Runs from before schema 4 are known only by the
artifacts that they built; their state is `unrecorded`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from convrec import __version__
from convrec.artifacts import openlineage
from convrec.artifacts.retry import with_retries
from convrec.artifacts.store import Store
from convrec.artifacts.tables import utc_now
from convrec.config import ROOT
from convrec.errors import InputError

RUNNING, COMPLETED, UNRECORDED = "running", "completed", "unrecorded"
"""States of a run. The state of a failed run is the name of its error."""

EARLIER_ATTEMPT = "earlier"
"""State of an artifact that an earlier attempt of a run used; kept until an attempt completes."""

MIN_PREFIX = 4


@dataclass(frozen=True)
class RunArtifact:
    """An artifact that a run built (`completed`) or found in the cache (`cached`)."""

    node: str
    artifact_id: str
    state: str
    seconds: float


@dataclass(frozen=True)
class RunRecord:
    """One run of a flow, and the artifacts that it used, in order."""

    run_id: str
    flow: str
    profile: str
    overrides: dict[str, Any]
    config: dict[str, Any]
    revision: str
    state: str
    started_at: datetime
    ended_at: datetime | None
    artifacts: list[RunArtifact] = field(default_factory=list)


def code_revision() -> str:
    """The commit of the code, with `-dirty` if files were changed; without git, the version."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        return __version__
    result = subprocess.run(
        [git, "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout.strip() or __version__


def start_run(
    store: Store,
    run_id: str,
    *,
    flow: str,
    profile: str,
    overrides: Mapping[str, Any],
    config: Mapping[str, Any],
) -> None:
    """Record that a run started, in place of an earlier attempt of the same run.

    The artifacts of the earlier attempt stay, as EARLIER_ATTEMPT, until an attempt completes.
    """
    row = [
        run_id,
        flow,
        profile,
        _json(overrides),
        _json(config),
        code_revision(),
        RUNNING,
        utc_now(),
    ]
    _insert_run(store, run_id, row)
    openlineage.run_started(openlineage.RunName(run_id, flow, profile))


@with_retries
def _insert_run(store: Store, run_id: str, row: list[Any]) -> None:
    with store.transaction() as connection:
        connection.execute("DELETE FROM runs WHERE run_id = ?", [run_id])
        connection.execute(
            "UPDATE run_artifacts SET state = ? WHERE run_id = ?", [EARLIER_ATTEMPT, run_id]
        )
        connection.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)", row)


def add_run_artifact(store: Store, run_id: str, used: RunArtifact) -> None:
    """Record that a run has an artifact."""
    _insert_run_artifact(store, run_id, used)
    if openlineage.is_enabled():
        _send_artifact(store, run_id, used)


@with_retries
def _insert_run_artifact(store: Store, run_id: str, used: RunArtifact) -> None:
    row = [run_id, used.node, used.artifact_id, used.state, used.seconds, utc_now()]
    with store.transaction() as connection:
        connection.execute("INSERT INTO run_artifacts VALUES (?, ?, ?, ?, ?, ?)", row)


def finish_run(store: Store, run_id: str, state: str) -> None:
    """Record how a run ended: COMPLETED, or the name of its error."""
    _update_run(store, run_id, state)
    if openlineage.is_enabled() and (run := _run_name(store, run_id)):
        openlineage.run_finished(run, state, completed=state == COMPLETED)


@with_retries
def _update_run(store: Store, run_id: str, state: str) -> None:
    with store.transaction() as connection:
        connection.execute(
            "UPDATE runs SET state = ?, ended_at = ? WHERE run_id = ?", [state, utc_now(), run_id]
        )
        if state == COMPLETED:
            connection.execute(
                "DELETE FROM run_artifacts WHERE run_id = ? AND state = ?",
                [run_id, EARLIER_ATTEMPT],
            )


def _send_artifact(store: Store, run_id: str, used: RunArtifact) -> None:
    """Send the events of an artifact, with its parents under their names in the run."""
    run = _run_name(store, run_id)
    found = store.find(used.artifact_id)
    if run is None or found is None:
        return
    artifact = store.header(used.artifact_id)
    parents = [store.header(parent) for parent in dict.fromkeys(artifact.parents.values())]
    with store.read_connection() as connection:
        rows = connection.execute(
            "SELECT artifact_id, node FROM run_artifacts WHERE run_id = ? ORDER BY noted_at DESC",
            [run_id],
        ).fetchall()
    openlineage.artifact_used(
        run,
        used.node,
        artifact,
        parents,
        dict(rows),
        state=used.state,
        seconds=used.seconds,
    )


def _run_name(store: Store, run_id: str) -> openlineage.RunName | None:
    with store.read_connection() as connection:
        found = connection.execute(
            "SELECT run_id, flow, profile FROM runs WHERE run_id = ?", [run_id]
        ).fetchone()
    return openlineage.RunName(*found) if found else None


def list_runs(store: Store) -> list[RunRecord]:
    """All runs, newest first."""
    with store.read_connection() as connection:
        rows = connection.execute(
            "SELECT run_id, flow, profile, overrides, config, revision, state, started_at, "
            "ended_at FROM runs ORDER BY started_at DESC, run_id"
        ).fetchall()
        used = connection.execute(
            "SELECT run_id, node, artifact_id, state, seconds FROM run_artifacts "
            "WHERE state <> ? ORDER BY noted_at, node",
            [EARLIER_ATTEMPT],
        ).fetchall()
    artifacts: dict[str, list[RunArtifact]] = {}
    for run_id, *values in used:
        artifacts.setdefault(run_id, []).append(RunArtifact(*values))
    return [_record(row, artifacts.get(row[0], [])) for row in rows]


def _record(row: tuple[Any, ...], artifacts: list[RunArtifact]) -> RunRecord:
    run_id, flow, profile, overrides, config, code, state, started_at, ended_at = row
    return RunRecord(
        run_id=run_id,
        flow=flow,
        profile=profile,
        overrides=json.loads(overrides),
        config=json.loads(config),
        revision=code,
        state=state,
        started_at=started_at,
        ended_at=ended_at,
        artifacts=artifacts,
    )


def find_run(store: Store, name: str) -> RunRecord:
    """The one run whose id is, or starts with, `name`. Raises InputError."""
    found = [run for run in list_runs(store) if run.run_id.startswith(name)]
    if len(name) < MIN_PREFIX or len(found) != 1:
        problem = f"{len(found)} runs have an id that starts with {name!r}"
        if len(name) < MIN_PREFIX:
            problem = f"{name!r} is too short for a run id"
        raise InputError(
            f"{problem}; give {MIN_PREFIX} or more characters of an id from "
            "`convrec artifacts list --runs`"
        )
    return found[0]


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), sort_keys=True, default=str, ensure_ascii=False)
