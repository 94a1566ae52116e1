"""Which runs there were: of which flow and profile, with which settings and code, using what.

A run is noted when it starts and each artifact as soon as the run has it, so that whoever tidies up
sees what a run that still goes on needs. Runs of a warehouse that was made before runs were noted
are known by what they made: their state is `unrecorded`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from convrec import __version__
from convrec.artifacts.retry import with_retries
from convrec.artifacts.tables import utc_now
from convrec.config import ROOT
from convrec.errors import InputError

if TYPE_CHECKING:
    from convrec.artifacts.store import Store

RUNNING, COMPLETED, UNRECORDED = "running", "completed", "unrecorded"
"""States of a run; one that failed has the name of its error."""

EARLIER_ATTEMPT = "earlier"
"""State of what an earlier attempt of a run had: nobody is to delete it until one completes."""

MIN_PREFIX = 4


@dataclass(frozen=True)
class RunArtifact:
    """An artifact that a run made (`completed`) or found made (`cached`)."""

    node: str
    artifact_id: str
    state: str
    seconds: float


@dataclass(frozen=True)
class RunRecord:
    """One run of a flow, and the artifacts that it used, in its order."""

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
    """The commit of the code, with `-dirty` where files differ from it; without git the version."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        return __version__
    told = subprocess.run(
        [git, "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip() or __version__


@with_retries
def start_run(
    store: Store,
    run_id: str,
    *,
    flow: str,
    profile: str,
    overrides: Mapping[str, Any],
    config: Mapping[str, Any],
) -> None:
    """Note that a run has started; a retry of the same run takes its place.

    What the earlier attempt had stays EARLIER until one completes: it will be wanted again.
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
    with store.transaction() as connection:
        connection.execute("DELETE FROM runs WHERE run_id = ?", [run_id])
        connection.execute(
            "UPDATE run_artifacts SET state = ? WHERE run_id = ?", [EARLIER_ATTEMPT, run_id]
        )
        connection.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)", row)


@with_retries
def add_run_artifact(store: Store, run_id: str, used: RunArtifact) -> None:
    """Note that a run has an artifact."""
    row = [run_id, used.node, used.artifact_id, used.state, used.seconds, utc_now()]
    with store.transaction() as connection:
        connection.execute("INSERT INTO run_artifacts VALUES (?, ?, ?, ?, ?, ?)", row)


@with_retries
def finish_run(store: Store, run_id: str, state: str) -> None:
    """Note how a run ended: COMPLETED, or the name of the error."""
    with store.transaction() as connection:
        connection.execute(
            "UPDATE runs SET state = ?, ended_at = ? WHERE run_id = ?", [state, utc_now(), run_id]
        )
        if state == COMPLETED:
            connection.execute(
                "DELETE FROM run_artifacts WHERE run_id = ? AND state = ?",
                [run_id, EARLIER_ATTEMPT],
            )


def list_runs(store: Store) -> list[RunRecord]:
    """All runs, the newest first."""
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
    """The run whose id is, or begins with, `name`. Raises InputError where there is not one."""
    found = [run for run in list_runs(store) if run.run_id.startswith(name)]
    if len(name) < MIN_PREFIX or len(found) != 1:
        wrong = f"{len(found)} runs have an id that begins with {name!r}"
        if len(name) < MIN_PREFIX:
            wrong = f"{name!r} is too short for a run"
        raise InputError(
            f"{wrong}; give {MIN_PREFIX} or more signs of one that "
            "`convrec artifacts list --runs` shows"
        )
    return found[0]


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), sort_keys=True, default=str, ensure_ascii=False)
