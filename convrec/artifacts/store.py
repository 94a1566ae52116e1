"""The warehouse: one DuckDB file that many short-lived processes share.

DuckDB lets one process write at a time, and a writer keeps readers of other processes out. So no
connection outlives a method: each opens the file, works for milliseconds and lets go, and whoever
finds it taken waits its turn with back-off. Long work (training, asking a teacher) holds nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from convrec.artifacts.identity import ArtifactRef, ArtifactSpec
from convrec.artifacts.tables import KINDS, SCHEMA_VERSION, creation_sql
from convrec.errors import InputError, WarehouseError

if TYPE_CHECKING:
    import polars as pl

    from convrec.artifacts.step import Built

LOCK_PATIENCE = 120.0
"""Seconds that a process waits for its turn before it gives up."""

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Producer:
    """Who made an artifact: Prefect run ids, empty outside Prefect."""

    flow_run_id: str = ""
    task_run_id: str = ""


@dataclass(frozen=True)
class Header:
    """What the warehouse knows about an artifact besides its rows."""

    ref: ArtifactRef
    version: int
    config: dict[str, Any]
    inputs: dict[str, str]
    parents: dict[str, str]
    figures: dict[str, Any]
    seconds: float
    created_at: datetime
    producer: Producer


class Store:
    """Artifacts of one warehouse folder.

    Raises WarehouseError where the file is read-only, not a convrec warehouse, newer than this
    version, or stays locked for longer than LOCK_PATIENCE.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.path = home / "warehouse.duckdb"
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WarehouseError(
                f"the warehouse folder {home} cannot be made ({error.strerror}); "
                "point CONVREC_HOME at a folder that can be written"
            ) from None
        if not self.path.exists():
            with self.write():
                pass
        with self.read_connection() as connection:
            self._check(connection)

    # -- connections ---------------------------------------------------------------------------

    @contextlib.contextmanager
    def read_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection, open for the length of the block."""
        with contextlib.closing(self._open(read_only=True)) as connection:
            yield connection

    @contextlib.contextmanager
    def write(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection inside one transaction: all of the block is committed, or nothing."""
        with contextlib.closing(self._open(read_only=False)) as connection:
            connection.begin()
            try:
                tables = connection.execute("SELECT count(*) FROM duckdb_tables()").fetchone()
                if tables == (0,):
                    connection.execute(creation_sql())
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    def _open(self, *, read_only: bool) -> duckdb.DuckDBPyConnection:
        deadline = time.monotonic() + LOCK_PATIENCE
        wait = 0.005
        while True:
            try:
                return duckdb.connect(str(self.path), read_only=read_only)
            except duckdb.Error as error:
                if not _taken(error):
                    raise WarehouseError(_open_problem(self.path, error)) from None
                if time.monotonic() > deadline:
                    raise WarehouseError(
                        f"{self.path} stayed locked by another process for {LOCK_PATIENCE:.0f} s; "
                        "end that process, or set CONVREC_HOME to another folder"
                    ) from None
            time.sleep(wait * random.uniform(0.5, 1.5))
            wait = min(wait * 2, 0.25)

    def _check(self, connection: duckdb.DuckDBPyConnection) -> None:
        try:
            meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
        except duckdb.Error:
            meta = {}
        if meta.get("convrec") != "warehouse":
            raise WarehouseError(
                f"{self.path} is a DuckDB file of something else, and stays untouched; "
                "set CONVREC_HOME to an empty folder"
            )
        if int(meta["schema_version"]) > SCHEMA_VERSION:
            raise WarehouseError(
                f"{self.path} was made by a newer convrec (schema {meta['schema_version']}, this "
                f"one reads up to {SCHEMA_VERSION}); upgrade convrec, or use another CONVREC_HOME"
            )

    # -- artifacts -----------------------------------------------------------------------------

    def find(self, artifact_id: str) -> ArtifactRef | None:
        """The reference of an artifact that is really there, rows and folder, or None."""
        with self.read_connection() as connection:
            found = connection.execute(
                "SELECT kind, stage, rows, partial FROM artifacts WHERE artifact_id = ?",
                [artifact_id],
            ).fetchone()
            if found is None:
                return None
            kind, stage, rows, partial = found
            present = connection.execute(
                f'SELECT count(*) FROM "{kind}" WHERE artifact_id = ?', [artifact_id]
            ).fetchone()
        if present != (rows,):
            return None
        folder = self.folder(artifact_id)
        if kind in ("checkpoint", "report") and not (folder / MANIFEST).is_file():
            return None
        return ArtifactRef(
            artifact_id=artifact_id, kind=kind, stage=stage, rows=rows, partial=partial
        )

    def read(self, artifact_id: str) -> pl.DataFrame:
        """The rows of an artifact in order, without the id columns. Raises InputError."""
        if self.find(artifact_id) is None:
            raise InputError(
                f"no artifact {artifact_id} in {self.path}; `convrec artifacts list` shows them"
            )
        kind = artifact_id.rpartition("-")[0]
        with self.read_connection() as connection:
            return connection.execute(
                f'SELECT * EXCLUDE (artifact_id, "row") FROM "{kind}" '
                'WHERE artifact_id = ? ORDER BY "row"',
                [artifact_id],
            ).pl()

    def put(
        self,
        spec: ArtifactSpec,
        built: Built,
        *,
        producer: Producer | None = None,
        seconds: float = 0.0,
        scratch: Path | None = None,
    ) -> ArtifactRef:
        """Commit rows, header and lineage edges in one transaction; replaces the same id.

        `scratch` becomes the artifact's folder, manifest last, before the transaction: a crash
        between the two leaves a folder that nothing names, never a name without a folder.
        """
        import polars as pl

        producer = producer or Producer()
        artifact_id = spec.artifact_id
        columns = KINDS[spec.kind]
        rows = built.rows.select(list(columns)).with_row_index("row")
        failures = built.failures if built.failures is not None else pl.DataFrame()
        if scratch is not None:
            self._keep_folder(scratch, spec)
        with self.write() as connection:
            for table in (spec.kind, "artifacts", "lineage", "failures", "curves"):
                connection.execute(f'DELETE FROM "{table}" WHERE artifact_id = ?', [artifact_id])
            names = ", ".join(f'"{name}"' for name in ("row", *columns))
            connection.register("built_rows", rows.to_arrow())
            connection.execute(
                f'INSERT INTO "{spec.kind}" (artifact_id, {names}) '
                f"SELECT ?, {names} FROM built_rows",
                [artifact_id],
            )
            connection.executemany(
                "INSERT INTO artifacts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    [
                        artifact_id,
                        spec.kind,
                        spec.stage,
                        spec.version,
                        json.dumps(dict(spec.config), sort_keys=True),
                        json.dumps(dict(spec.inputs), sort_keys=True),
                        rows.height,
                        failures.height > 0,
                        json.dumps(dict(built.figures)),
                        seconds,
                        datetime.now(UTC).replace(tzinfo=None),
                        producer.flow_run_id,
                        producer.task_run_id,
                    ]
                ],
            )
            for role, parent in spec.parents.items():
                connection.execute(
                    "INSERT INTO lineage VALUES (?, ?, ?)", [artifact_id, role, parent]
                )
            if failures.height:
                connection.register("built_failures", failures.to_arrow())
                connection.execute(
                    "INSERT INTO failures SELECT ?, context_id, reason FROM built_failures",
                    [artifact_id],
                )
            if built.curves is not None and built.curves.height:
                connection.register("built_curves", built.curves.to_arrow())
                connection.execute(
                    "INSERT INTO curves SELECT ?, step, name, value FROM built_curves",
                    [artifact_id],
                )
        return ArtifactRef(
            artifact_id=artifact_id,
            kind=spec.kind,
            stage=spec.stage,
            rows=rows.height,
            partial=failures.height > 0,
        )

    def header(self, artifact_id: str) -> Header:
        """Header, parents and producer of an artifact. Raises InputError where there is none."""
        with self.read_connection() as connection:
            found = connection.execute(
                "SELECT kind, stage, rows, partial, version, config, inputs, figures, seconds, "
                "created_at, flow_run_id, task_run_id FROM artifacts WHERE artifact_id = ?",
                [artifact_id],
            ).fetchone()
            parents = connection.execute(
                "SELECT role, parent_id FROM lineage WHERE artifact_id = ?", [artifact_id]
            ).fetchall()
        if found is None:
            raise InputError(
                f"no artifact {artifact_id} in {self.path}; `convrec artifacts list` shows them"
            )
        kind, stage, rows, partial, version, config, inputs, figures, seconds, created, flow, task = (
            found
        )
        return Header(
            ref=ArtifactRef(
                artifact_id=artifact_id, kind=kind, stage=stage, rows=rows, partial=partial
            ),
            version=version,
            config=json.loads(config),
            inputs=json.loads(inputs),
            parents=dict(parents),
            figures=json.loads(figures),
            seconds=seconds,
            created_at=created,
            producer=Producer(flow, task),
        )

    def list(self, kind: str | None = None) -> list[Header]:
        """Headers of all artifacts, or of one kind, oldest first."""
        with self.read_connection() as connection:
            ids = connection.execute(
                "SELECT artifact_id FROM artifacts WHERE ? IS NULL OR kind = ? "
                "ORDER BY created_at, artifact_id",
                [kind, kind],
            ).fetchall()
        return [self.header(artifact_id) for (artifact_id,) in ids]

    def curves(self, artifact_id: str) -> pl.DataFrame:
        """Training curves of an artifact: columns step, name, value."""
        with self.read_connection() as connection:
            return connection.execute(
                "SELECT step, name, value FROM curves WHERE artifact_id = ? ORDER BY name, step",
                [artifact_id],
            ).pl()

    def failures(self, artifact_id: str) -> pl.DataFrame:
        """What an artifact could not make: columns context_id, reason."""
        with self.read_connection() as connection:
            return connection.execute(
                "SELECT context_id, reason FROM failures WHERE artifact_id = ? ORDER BY context_id",
                [artifact_id],
            ).pl()

    # -- pins ----------------------------------------------------------------------------------

    def pinned(self, name: str) -> ArtifactRef | None:
        """The artifact pinned under `name`, if it is still there."""
        with self.read_connection() as connection:
            found = connection.execute(
                "SELECT artifact_id FROM pins WHERE name = ? ORDER BY created_at DESC LIMIT 1",
                [name],
            ).fetchone()
        return self.find(found[0]) if found else None

    def pin(self, name: str, artifact_id: str) -> None:
        """Keep using this artifact under `name` until another is pinned."""
        with self.write() as connection:
            connection.execute("DELETE FROM pins WHERE name = ?", [name])
            connection.execute(
                "INSERT INTO pins VALUES (?, ?, ?)",
                [name, artifact_id, datetime.now(UTC).replace(tzinfo=None)],
            )

    # -- folders -------------------------------------------------------------------------------

    def folder(self, artifact_id: str) -> Path:
        """Where an artifact that consists of files keeps them."""
        return self.home / "files" / artifact_id

    def scratch(self) -> Path:
        """A fresh folder on the warehouse's disk, for files that are still being made."""
        parent = self.home / "files"
        parent.mkdir(exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".making-", dir=parent))

    def _keep_folder(self, scratch: Path, spec: ArtifactSpec) -> None:
        folder = self.folder(spec.artifact_id)
        manifest: Mapping[str, Any] = {
            "artifact_id": spec.artifact_id,
            "kind": spec.kind,
            "stage": spec.stage,
            "config": dict(spec.config),
            "parents": dict(spec.parents),
            "inputs": dict(spec.inputs),
            "files": sorted(str(p.relative_to(scratch)) for p in scratch.rglob("*") if p.is_file()),
        }
        temporary = scratch / f"{MANIFEST}.part"
        temporary.write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        os.replace(temporary, scratch / MANIFEST)
        scratch.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(scratch, folder)


def _taken(error: duckdb.Error) -> bool:
    text = str(error)
    return "Could not set lock" in text or "Conflicting lock" in text


def _open_problem(path: Path, error: duckdb.Error) -> str:
    text = str(error).splitlines()[0]
    if "not a valid DuckDB database" in text:
        return (
            f"{path} is not a DuckDB file, and stays untouched; "
            "move it away, or set CONVREC_HOME to another folder"
        )
    if "Permission denied" in text or "read-only" in text.lower() or not os.access(path, os.W_OK):
        return (
            f"{path} cannot be written; give this user write permission, "
            "or set CONVREC_HOME to a folder that can be written"
        )
    return f"{path} cannot be opened ({text}); restore it, or set CONVREC_HOME to another folder"
