"""Artifacts in the warehouse: one transaction an artifact, so that nothing half is ever seen."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convrec.artifacts.ducklake.blobs import MARKER_FILE
from convrec.artifacts.identity import ArtifactRef, ArtifactSpec, file_digest
from convrec.artifacts.parquet_rows import ROW_GROUP_SIZE, ParquetRows, insert_rows
from convrec.artifacts.retry import with_retries
from convrec.artifacts.tables import ARTIFACT_TABLES, KINDS, utc_now
from convrec.artifacts.warehouse import LONG_TEXT_ROW_GROUP, Warehouse, WriteMode
from convrec.errors import InputError

if TYPE_CHECKING:
    import duckdb
    import polars as pl

    from convrec.artifacts.step_result import StepResult

MANIFEST = "manifest.json"

LONG_TEXTS = ("conversations",)
"""Kinds whose rows hold kilobytes each."""

FILES = "files"
"""Below the home: a folder of each artifact that consists of files."""


@dataclass(frozen=True)
class Producer:
    """Who made an artifact: Prefect run ids, empty outside Prefect."""

    flow_run_id: str = ""
    task_run_id: str = ""


@dataclass(frozen=True)
class ArtifactRecord:
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


_HEADER = (
    "artifact_id, kind, stage, rows, partial, version, config, inputs, figures, seconds, "
    "created_at, flow_run_id, task_run_id"
)


class Store(Warehouse):
    """The artifacts of one warehouse folder: rows and headers in DuckDB, files beside it."""

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
                f'SELECT count(*) FROM "{kind}" WHERE artifact_id = ?',  # noqa: S608
                [artifact_id],
            ).fetchone()
        if present != (rows,):
            return None
        if kind in ("checkpoint", "report") and not self._has_folder(artifact_id):
            return None
        return ArtifactRef(
            artifact_id=artifact_id, kind=kind, stage=stage, rows=rows, partial=partial
        )

    def read(self, artifact_id: str, *columns: str) -> pl.DataFrame:
        """The rows of an artifact in order, without the id columns: all columns, or those named.

        Raises InputError for an artifact that is not there.
        """
        if self.find(artifact_id) is None:
            raise self._unknown(artifact_id)
        kind = artifact_id.rpartition("-")[0]
        return self.read_ordered(artifact_id, columns or tuple(KINDS[kind])).drop("row")

    def read_ordered(
        self, artifact_id: str, columns: Sequence[str], condition: str = ""
    ) -> pl.DataFrame:
        """Rows of an artifact that is known to be there, in order, with `row`, their number.

        DuckDB gives them back as they were inserted, which is in order; to see that costs less than
        to sort two million of them.
        """
        wanted = ", ".join(f'"{name}"' for name in ("row", *columns))
        found = self.query(artifact_id, wanted, condition)
        return found if found["row"].is_sorted() else found.sort("row")

    def query(self, artifact_id: str, wanted: str, rest: str) -> pl.DataFrame:
        """What SQL makes of the rows of an artifact that is known to be there."""
        kind = artifact_id.rpartition("-")[0]
        with self.read_connection() as connection:
            return connection.execute(
                f'SELECT {wanted} FROM "{kind}" WHERE artifact_id = ? {rest}',  # noqa: S608
                [artifact_id],
            ).pl()

    def put(
        self,
        spec: ArtifactSpec,
        built: StepResult,
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
        height = built.made.height
        failures = built.failures if built.failures is not None else pl.DataFrame()
        if failures.height and "final" not in failures.columns:
            failures = failures.with_columns(final=False)
        partial = failures.height > 0 and not failures["final"].all()
        file = self._keep_folder(scratch, spec) if scratch is not None else ""
        header = [
            artifact_id,
            spec.kind,
            spec.stage,
            spec.version,
            json.dumps(dict(spec.config), sort_keys=True),
            json.dumps(dict(spec.inputs), sort_keys=True),
            height,
            partial,
            json.dumps(dict(built.figures)),
            seconds,
            utc_now(),
            producer.flow_run_id,
            producer.task_run_id,
        ]
        self._commit(spec, header, built.made, failures, built.curves, file)
        return ArtifactRef(
            artifact_id=artifact_id,
            kind=spec.kind,
            stage=spec.stage,
            rows=height,
            partial=partial,
        )

    @with_retries
    def _commit(
        self,
        spec: ArtifactSpec,
        header: list[Any],
        rows: pl.DataFrame | ParquetRows,
        failures: pl.DataFrame,
        curves: pl.DataFrame | None,
        file: str,
    ) -> None:
        artifact_id = spec.artifact_id
        small = rows.height < ROW_GROUP_SIZE
        mode = WriteMode.DEFAULT
        if rows.height > LONG_TEXT_ROW_GROUP and (small or spec.kind in LONG_TEXTS):
            mode |= WriteMode.LONG_TEXT
        if type(rows) is ParquetRows:
            mode |= WriteMode.BULK
        with self.transaction(mode, scope=artifact_id) as connection:
            known = connection.execute(
                "SELECT count(*) FROM artifacts WHERE artifact_id = ?", [artifact_id]
            ).fetchone()
            tables = (spec.kind, *ARTIFACT_TABLES)
            for table in tables if known != (0,) else ():  # all of an artifact, or nothing
                connection.execute(f'DELETE FROM "{table}" WHERE artifact_id = ?', [artifact_id])  # noqa: S608
            insert_rows(connection, spec.kind, artifact_id, rows)
            connection.executemany(
                "INSERT INTO artifacts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", [header]
            )
            for role, parent in spec.parents.items():
                connection.execute(
                    "INSERT INTO lineage VALUES (?, ?, ?)", [artifact_id, role, parent]
                )
            if failures.height:
                connection.register("built_failures", failures.to_arrow())
                connection.execute(
                    "INSERT INTO failures BY NAME "
                    "SELECT ? AS artifact_id, context_id, reason, final FROM built_failures",
                    [artifact_id],
                )
            if curves is not None and curves.height:
                connection.register("built_curves", curves.to_arrow())
                connection.execute(
                    "INSERT INTO curves SELECT ?, step, name, value FROM built_curves",
                    [artifact_id],
                )
            if file and self.lake is not None:
                self.lake.point(connection, f"{FILES}/{artifact_id}", file)

    def header(self, artifact_id: str) -> ArtifactRecord:
        """Header, parents and producer of an artifact. Raises InputError where there is none."""
        found = self._select("artifact_id = ?", artifact_id)
        if not found:
            raise self._unknown(artifact_id)
        return found[0]

    def headers(self, kind: str | None = None) -> list[ArtifactRecord]:
        """Headers of all artifacts, or of one kind, oldest first."""
        return self._select("? IS NULL OR kind = $1", kind)

    def _select(self, condition: str, value: str | None) -> list[ArtifactRecord]:
        condition = condition.replace("?", "$1")
        with self.read_connection() as connection:
            found = connection.execute(
                f"SELECT {_HEADER} FROM artifacts WHERE {condition} "  # noqa: S608
                "ORDER BY created_at, artifact_id",
                [value],
            ).fetchall()
            edges = connection.execute(
                "SELECT artifact_id, role, parent_id FROM lineage WHERE artifact_id IN "  # noqa: S608
                f"(SELECT artifact_id FROM artifacts WHERE {condition})",
                [value],
            ).fetchall()
        parents: dict[str, dict[str, str]] = {}
        for artifact_id, role, parent in edges:
            parents.setdefault(artifact_id, {})[role] = parent
        return [_header(row, parents.get(row[0], {})) for row in found]

    def _unknown(self, artifact_id: str) -> InputError:
        return InputError(
            f"no artifact {artifact_id} in {self.location}; `convrec artifacts list` shows them"
        )

    def curves(self, artifact_id: str) -> pl.DataFrame:
        """Training curves of an artifact: columns step, name, value."""
        with self.read_connection() as connection:
            return connection.execute(
                "SELECT step, name, value FROM curves WHERE artifact_id = ? ORDER BY name, step",
                [artifact_id],
            ).pl()

    def failures(self, artifact_id: str) -> pl.DataFrame:
        """What an artifact could not make: columns context_id, reason, final."""
        with self.read_connection() as connection:
            return connection.execute(
                "SELECT context_id, reason, final FROM failures WHERE artifact_id = ? "
                "ORDER BY context_id",
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

    @with_retries
    def pin(self, name: str, artifact_id: str) -> None:
        """Keep using this artifact under `name` until another is pinned."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM pins WHERE name = ?", [name])
            connection.execute(
                "INSERT INTO pins VALUES (?, ?, ?)",
                [name, artifact_id, utc_now()],
            )

    def pins(self) -> dict[str, str]:
        """What is pinned: name → artifact id."""
        with self.read_connection() as connection:
            rows = connection.execute("SELECT name, artifact_id FROM pins ORDER BY name").fetchall()
        return dict(rows)

    @with_retries
    def unpin(self, artifact_id: str) -> list[str]:
        """Take away the pins of an artifact; their names."""
        with self.transaction() as connection:
            rows = connection.execute(
                "SELECT name FROM pins WHERE artifact_id = ? ORDER BY name", [artifact_id]
            ).fetchall()
            connection.execute("DELETE FROM pins WHERE artifact_id = ?", [artifact_id])
        return [name for (name,) in rows]

    # -- folders -------------------------------------------------------------------------------

    def folder(self, artifact_id: str) -> Path:
        """Where an artifact that consists of files has them on this host."""
        return self.home / FILES / artifact_id

    def fetch_folder(self, artifact_id: str) -> Path:
        """The folder of an artifact, with its files: a lake's are copied where they are not here.

        Raises WarehouseError where they cannot be.
        """
        return self.fetch_file(f"{FILES}/{artifact_id}")

    def fetch_file(self, name: str, sha256: str = "") -> Path:
        """The folder, or the file with this digest, `name` below the home.

        A lake's is copied where it is not here.
        """
        place = self.home / name
        if self.lake is None or not (file := self.lake.file_of(name)):
            return place
        mark = place / MARKER_FILE
        if place.is_file():
            here = file_digest(place) == sha256
        else:
            here = mark.is_file() and mark.read_text(encoding="utf-8") == file
        if not here:
            self.lake.depot.fetch(file, place)
        return place

    def store_file(self, connection: duckdb.DuckDBPyConnection, source: Path, name: str) -> str:
        """Keep a copy of a file as `name`, in a write block; the SHA-256 of the copy."""
        if self.lake is not None:
            self.lake.point(connection, name, self.lake.depot.send(source, name))
            return file_digest(source)
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        shutil.copyfile(source, part)
        part.chmod(0o444)
        os.replace(part, path)
        return file_digest(path)

    def make_scratch_folder(self) -> Path:
        """A fresh folder on the warehouse's disk, for files that are still being made."""
        parent = self.home / FILES
        parent.mkdir(exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".making-", dir=parent))

    def _has_folder(self, artifact_id: str) -> bool:
        if self.lake is None:
            return (self.folder(artifact_id) / MANIFEST).is_file()
        file = self.lake.file_of(f"{FILES}/{artifact_id}")
        return bool(file) and self.lake.depot.has(file)

    def _keep_folder(self, scratch: Path, spec: ArtifactSpec) -> str:
        """Make `scratch` the artifact's folder; its file in the depot of a lake."""
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
        return "" if self.lake is None else self.lake.depot.send(folder, f"{FILES}/{folder.name}")


def _header(row: tuple[Any, ...], parents: dict[str, str]) -> ArtifactRecord:
    artifact_id, kind, stage, rows, partial = row[:5]
    version, config, inputs, figures, seconds, created_at = row[5:11]
    return ArtifactRecord(
        ref=ArtifactRef(
            artifact_id=artifact_id, kind=kind, stage=stage, rows=rows, partial=partial
        ),
        version=version,
        config=json.loads(config),
        inputs=json.loads(inputs),
        parents=parents,
        figures=json.loads(figures),
        seconds=seconds,
        created_at=created_at,
        producer=Producer(*row[11:]),
    )
