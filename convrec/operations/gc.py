"""Tidying up: artifacts that nobody needs any more, and folders that crashed runs left behind.

Kept is what is pinned, what the last runs of each flow and profile used, what a run that goes on
has used so far, and everything that these were made from. Stored answers, judgments, embeddings,
the ledger and the list of runs are not artifacts and are never touched, so whatever is deleted here
can be made again without asking anybody.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convrec.artifacts.runs import COMPLETED, RUNNING, UNRECORDED
from convrec.artifacts.tables import ARTIFACT_TABLES, utc_now
from convrec.utils.workspace import remove_workspace

if TYPE_CHECKING:
    import duckdb

    from convrec.artifacts.store import Store

KEEP_RUNS = 10
"""Runs of each flow and profile that keep what they used; failed ones since do not count."""

ABANDONED_DAYS = 7.0
"""After so many days untouched, a run is not going on and a training is not coming back."""

MAX_DAYS = 36_500
"""Days; a longer time ends before the calendar of Python begins."""

UNNAMED_DAYS = 1.0
"""Age from which a folder or an artifact that nothing names is nobody's work in progress."""


@dataclass(frozen=True)
class UnneededArtifact:
    """An artifact that can go, and the bytes of its files."""

    artifact_id: str
    kind: str
    rows: int
    created_at: datetime
    bytes: int


@dataclass(frozen=True)
class Leftover:
    """A folder or file that can go, and why."""

    path: str
    why: str
    bytes: int


@dataclass(frozen=True)
class Garbage:
    """What can go, or what went; `kept` counts the artifacts that stay."""

    artifacts: list[UnneededArtifact] = field(default_factory=list)
    leftovers: list[Leftover] = field(default_factory=list)
    kept: int = 0

    @property
    def bytes(self) -> int:
        """Bytes of files; rows free space inside the warehouse, which it fills again."""
        return sum(one.bytes for one in self.artifacts) + sum(one.bytes for one in self.leftovers)

    def plain(self) -> dict[str, Any]:
        """As `--json` writes it."""
        return {**asdict(self), "bytes": self.bytes}


def find_garbage(
    store: Store, *, keep_runs: int = KEEP_RUNS, days: float = ABANDONED_DAYS
) -> Garbage:
    """What could be deleted; deletes nothing."""
    with store.read_connection() as connection:
        needed = _needed(connection, keep_runs, days)
        unneeded = _unneeded(store, connection, needed)
    return Garbage(unneeded, list(_leftovers(store, days)), kept=len(needed))


def collect_garbage(
    store: Store, *, keep_runs: int = KEEP_RUNS, days: float = ABANDONED_DAYS
) -> Garbage:
    """Delete what nobody needs; returns what went.

    Rows go first, in one transaction that looks again at what is needed, then files: a crash in
    between leaves folders that nothing names, which the next call removes.
    """
    with store.transaction() as connection:
        needed = _needed(connection, keep_runs, days)
        unneeded = _unneeded(store, connection, needed)
        for table in (*dict.fromkeys(part.kind for part in unneeded), *ARTIFACT_TABLES):
            for part in unneeded:
                connection.execute(
                    f'DELETE FROM "{table}" WHERE artifact_id = ?',  # noqa: S608
                    [part.artifact_id],
                )
        connection.execute(
            "DELETE FROM pins WHERE artifact_id NOT IN (SELECT artifact_id FROM artifacts)"
        )
    for part in unneeded:
        shutil.rmtree(store.folder(part.artifact_id), ignore_errors=True)
        (store.home / "results" / part.artifact_id).unlink(missing_ok=True)
    leftovers = []
    for leftover in _leftovers(store, days):
        path = Path(leftover.path)
        if path.parent == store.home / "training":
            remove_workspace(path)
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        if not path.exists():
            leftovers.append(leftover)
    store.backend.maintain()
    return Garbage(unneeded, leftovers, kept=len(needed))


def _needed(connection: duckdb.DuckDBPyConnection, keep_runs: int, days: float) -> set[str]:
    """Ids of the artifacts that stay: roots, and all that they were made from."""
    now = utc_now()
    roots = connection.execute(
        "WITH counted AS (SELECT run_id, state, started_at, state IN ($done, $unrecorded) AS ok, "
        "sum(ok::INTEGER) OVER (PARTITION BY flow, profile ORDER BY started_at DESC) AS nth "
        "FROM runs), "
        "last AS (SELECT run_id FROM counted WHERE nth < $runs OR (ok AND nth = $runs) "
        "OR (state = $running AND started_at > $since)) "
        "SELECT artifact_id FROM pins "
        "UNION SELECT artifact_id FROM run_artifacts JOIN last USING (run_id) "
        "UNION SELECT artifact_id FROM artifacts WHERE created_at > $stray "
        "AND artifact_id NOT IN (SELECT artifact_id FROM run_artifacts)",
        {
            "runs": keep_runs,
            "done": COMPLETED,
            "unrecorded": UNRECORDED,
            "running": RUNNING,
            "since": now - timedelta(days=min(days, MAX_DAYS)),
            "stray": now - timedelta(days=UNNAMED_DAYS),
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
    """What no artifact stands behind, and trainings that ended or were given up."""
    stored = {header.ref.artifact_id for header in store.headers()}
    for folder in _inside(store.home / "training"):
        if folder.name in stored:
            yield Leftover(str(folder), "training is finished", _size(folder))
        elif _age(folder) > days:
            why = f"training abandoned, untouched for {_age(folder):.0f} days"
            yield Leftover(str(folder), why, _size(folder))
    for parent in ("files", "results"):
        for path in _inside(store.home / parent):
            if path.name not in stored and _age(path) > UNNAMED_DAYS:
                yield Leftover(str(path), "no artifact has this name", _size(path))


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif path.is_dir():
        yield from (inside for inside in path.rglob("*") if inside.is_file())


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in _files(path))


def _age(path: Path) -> float:
    """Days since anything in it was changed."""
    newest = max([path.stat().st_mtime, *(file.stat().st_mtime for file in _files(path))])
    return (time.time() - newest) / 86400
