"""`artifacts gc`: deletes artifacts that nothing needs, and folders that crashed runs left behind.

Needed are pinned artifacts, those of the last runs of each flow and profile, those of unfinished
runs, and the ancestors of all these. Stored responses, judgments, embeddings, the ledger and the
record of runs are not artifacts and stay, so everything deleted here can be rebuilt for free.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from convrec.artifacts.runs import COMPLETED, RUNNING, UNRECORDED
from convrec.artifacts.store import Store
from convrec.artifacts.tables import ARTIFACT_TABLES, utc_now
from convrec.utils.workspace import remove_workspace

KEEP_RUNS = 10
"""Completed runs of each flow and profile whose artifacts are kept."""

ABANDONED_DAYS = 7.0
"""Age from which an unfinished run or training counts as abandoned."""

MAX_DAYS = 36_500
"""Longer ages would be before the first date that Python supports."""

UNNAMED_DAYS = 1.0
"""Age from which a folder or artifact of no run cannot be work in progress."""


_ROOTS = """
WITH counted AS (
    SELECT run_id, state, started_at, state IN ($completed, $unrecorded) AS is_complete,
        sum(is_complete::INTEGER) OVER (PARTITION BY flow, profile ORDER BY started_at DESC) AS nth
    FROM runs
),
last AS (
    SELECT run_id FROM counted WHERE nth < $runs OR (is_complete AND nth = $runs)
        OR (state = $running AND started_at > $abandoned_before)
)
SELECT artifact_id FROM pins
UNION SELECT artifact_id FROM run_artifacts JOIN last USING (run_id)
UNION SELECT artifact_id FROM artifacts WHERE created_at > $recent_after
    AND artifact_id NOT IN (SELECT artifact_id FROM run_artifacts)
"""
"""Pinned artifacts, those of the last and the unfinished runs, and recent ones without a run."""


@dataclass(frozen=True)
class UnneededArtifact:
    """An artifact that can be deleted, and the bytes of its files."""

    artifact_id: str
    kind: str
    rows: int
    created_at: datetime
    bytes: int


@dataclass(frozen=True)
class Leftover:
    """A folder or file that can be deleted, and why."""

    path: str
    why: str
    bytes: int


@dataclass(frozen=True)
class Garbage:
    """What can be deleted, or was; `kept` counts the artifacts that stay."""

    artifacts: list[UnneededArtifact] = field(default_factory=list)
    leftovers: list[Leftover] = field(default_factory=list)
    kept: int = 0

    @property
    def bytes(self) -> int:
        """Bytes of files. Deleted rows free space inside the warehouse file, which it reuses."""
        return sum(a.bytes for a in self.artifacts) + sum(one.bytes for one in self.leftovers)

    def as_json(self) -> dict[str, Any]:
        """The value that `--json` writes."""
        return {**asdict(self), "bytes": self.bytes}


def find_garbage(
    store: Store, *, keep_runs: int = KEEP_RUNS, days: float = ABANDONED_DAYS
) -> Garbage:
    """What can be deleted. Deletes nothing."""
    with store.read_connection() as connection:
        needed = _needed(connection, keep_runs, days)
        unneeded = _unneeded(store, connection, needed)
    return Garbage(unneeded, list(_leftovers(store, days)), kept=len(needed))


def collect_garbage(
    store: Store, *, keep_runs: int = KEEP_RUNS, days: float = ABANDONED_DAYS
) -> Garbage:
    """Delete what nothing needs; returns what was deleted.

    Rows are deleted first, in one transaction that determines what is needed, then files: a crash
    in between leaves folders without an artifact, which the next call deletes.
    """
    with store.transaction() as connection:
        needed = _needed(connection, keep_runs, days)
        unneeded = _unneeded(store, connection, needed)
        for table in (*dict.fromkeys(artifact.kind for artifact in unneeded), *ARTIFACT_TABLES):
            for artifact in unneeded:
                connection.execute(
                    f'DELETE FROM "{table}" WHERE artifact_id = ?',  # noqa: S608
                    [artifact.artifact_id],
                )
        connection.execute(
            "DELETE FROM pins WHERE artifact_id NOT IN (SELECT artifact_id FROM artifacts)"
        )
    for artifact in unneeded:
        shutil.rmtree(store.folder(artifact.artifact_id), ignore_errors=True)
        (store.home / "results" / artifact.artifact_id).unlink(missing_ok=True)
    deleted = []
    for leftover in _leftovers(store, days):
        path = Path(leftover.path)
        if path.parent == store.home / "training":
            remove_workspace(path)
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        if not path.exists():
            deleted.append(leftover)
    store.backend.maintain()
    return Garbage(unneeded, deleted, kept=len(needed))


def _needed(connection: duckdb.DuckDBPyConnection, keep_runs: int, days: float) -> set[str]:
    """Ids of the artifacts that stay: roots and their ancestors."""
    now = utc_now()
    roots = connection.execute(
        _ROOTS,
        {
            "runs": keep_runs,
            "completed": COMPLETED,
            "unrecorded": UNRECORDED,
            "running": RUNNING,
            "abandoned_before": now - timedelta(days=min(days, MAX_DAYS)),
            "recent_after": now - timedelta(days=UNNAMED_DAYS),
        },
    ).fetchall()
    parents: dict[str, list[str]] = {}
    for child, parent in connection.execute(
        "SELECT artifact_id, parent_id FROM lineage"
    ).fetchall():
        parents.setdefault(child, []).append(parent)
    needed: set[str] = set()
    waiting = [name for (name,) in roots]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += parents.get(name, [])
    return needed


def _unneeded(
    store: Store, connection: duckdb.DuckDBPyConnection, needed: set[str]
) -> list[UnneededArtifact]:
    rows = connection.execute(
        "SELECT artifact_id, kind, rows, created_at FROM artifacts ORDER BY created_at, artifact_id"
    ).fetchall()
    return [
        UnneededArtifact(name, kind, count, created_at, _size(store.folder(name)))
        for name, kind, count, created_at in rows
        if name not in needed
    ]


def _leftovers(store: Store, days: float) -> Iterator[Leftover]:
    """Folders and files without an artifact, and trainings that are finished or abandoned."""
    stored = {header.ref.artifact_id for header in store.headers()}
    for folder in _entries(store.home / "training"):
        if folder.name in stored:
            yield Leftover(str(folder), "training is finished", _size(folder))
        elif _age(folder) > days:
            why = f"training abandoned, untouched for {_age(folder):.0f} days"
            yield Leftover(str(folder), why, _size(folder))
    for parent in ("files", "results"):
        for path in _entries(store.home / parent):
            if path.name not in stored and _age(path) > UNNAMED_DAYS:
                yield Leftover(str(path), "no artifact has this name", _size(path))


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif path.is_dir():
        yield from (file for file in path.rglob("*") if file.is_file())


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in _files(path))


def _age(path: Path) -> float:
    """Days since the last change of anything in it."""
    newest = max([path.stat().st_mtime, *(file.stat().st_mtime for file in _files(path))])
    return (time.time() - newest) / 86400
