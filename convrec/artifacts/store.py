"""Artifacts in the warehouse. Each is committed in one transaction, so none is ever seen half."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import duckdb
import polars as pl

from convrec.artifacts.backend import FILES_FOLDER, MANIFEST, WriteMode
from convrec.artifacts.database_file import LONG_TEXT_ROW_GROUP
from convrec.artifacts.identity import ArtifactRef, ArtifactSpec, file_digest
from convrec.artifacts.parquet_rows import ROW_GROUP_SIZE, ParquetRows, insert_rows
from convrec.artifacts.record import COLUMNS, ArtifactRecord, Producer, parse_record, record_values
from convrec.artifacts.retry import with_retries
from convrec.artifacts.step_result import StepResult
from convrec.artifacts.tables import ARTIFACT_TABLES, KINDS, utc_now
from convrec.artifacts.warehouse import Warehouse
from convrec.errors import InputError
from convrec.utils.files import atomic_path

LONG_TEXT_KINDS = ("conversations",)
"""Kinds whose rows take kilobytes each."""

MIN_SHORT_ID, MAX_SHOWN_IDS = 4, 5
"""Characters that abbreviate an id at least, and ids that an error about one lists."""

FOLDER_KINDS = ("checkpoint", "report")
"""Kinds that consist of files as well as rows."""


class Store(Warehouse):
    """The artifacts of one home: rows and headers in the database, files in `<home>/files`."""

    # -- artifacts -----------------------------------------------------------------------------

    def find(self, artifact_id: str) -> ArtifactRef | None:
        """The reference of an artifact whose rows and folder exist; otherwise None."""
        with self.read_connection() as connection:
            found = connection.execute(
                "SELECT kind, stage, rows, partial FROM artifacts WHERE artifact_id = ?",
                [artifact_id],
            ).fetchone()
            if found is None:
                return None
            kind, stage, rows, partial = found
            stored_rows = connection.execute(
                f'SELECT count(*) FROM "{kind}" WHERE artifact_id = ?',  # noqa: S608
                [artifact_id],
            ).fetchone()
        if stored_rows != (rows,):
            return None
        if kind in FOLDER_KINDS and not self.backend.has_folder(
            f"{FILES_FOLDER}/{artifact_id}", self.folder(artifact_id)
        ):
            return None
        return ArtifactRef(
            artifact_id=artifact_id, kind=kind, stage=stage, rows=rows, partial=partial
        )

    def read(self, artifact_id: str, *columns: str) -> pl.DataFrame:
        """The rows of an artifact in order: all columns of its kind, or those named.

        Raises InputError for an artifact that does not exist.
        """
        if self.find(artifact_id) is None:
            raise self._unknown(artifact_id)
        kind = artifact_id.rpartition("-")[0]
        return self.read_ordered(artifact_id, columns or tuple(KINDS[kind])).drop("row")

    def read_ordered(
        self, artifact_id: str, columns: Sequence[str], condition: str = ""
    ) -> pl.DataFrame:
        """Rows of an artifact that exists, in order, with their position in the column `row`.

        DuckDB returns rows as they were inserted, which is in order; checking that costs less than
        sorting two million rows.
        """
        selected = ", ".join(f'"{name}"' for name in ("row", *columns))
        found = self.query(artifact_id, selected, condition)
        return found if found["row"].is_sorted() else found.sort("row")

    def query(self, artifact_id: str, selected: str, condition: str = "") -> pl.DataFrame:
        """SELECT `selected` from the rows of an artifact that exists.

        `condition` continues the WHERE clause, for example `AND "row" > 5`.
        """
        kind = artifact_id.rpartition("-")[0]
        with self.read_connection() as connection:
            return connection.execute(
                f'SELECT {selected} FROM "{kind}" WHERE artifact_id = ? {condition}',  # noqa: S608
                [artifact_id],
            ).pl()

    def put(
        self,
        spec: ArtifactSpec,
        result: StepResult,
        *,
        producer: Producer | None = None,
        seconds: float = 0.0,
        scratch: Path | None = None,
    ) -> ArtifactRef:
        """Commit rows, header and lineage edges in one transaction; replaces the same id.

        `scratch` becomes the artifact's folder before the transaction: a crash between the two
        leaves a folder without an artifact, never an artifact without its folder.
        """
        failures = result.failures if result.failures is not None else pl.DataFrame()
        if failures.height and "final" not in failures.columns:
            failures = failures.with_columns(final=False)
        ref = ArtifactRef(
            artifact_id=spec.artifact_id,
            kind=spec.kind,
            stage=spec.stage,
            rows=result.output.height,
            partial=failures.height > 0 and not failures["final"].all(),
        )
        copy = self._store_folder(scratch, spec) if scratch is not None else ""
        values = record_values(spec, ref, dict(result.figures), seconds, producer or Producer())
        self._commit(spec, values, result, failures, copy)
        return ref

    @with_retries
    def _commit(
        self,
        spec: ArtifactSpec,
        values: list[object],
        result: StepResult,
        failures: pl.DataFrame,
        copy: str,
    ) -> None:
        artifact_id = spec.artifact_id
        mode = _write_mode(spec.kind, result.output)
        with self.transaction(mode, scope=artifact_id) as connection:
            existing = connection.execute(
                "SELECT count(*) FROM artifacts WHERE artifact_id = ?", [artifact_id]
            ).fetchone()
            if existing != (0,):
                for table in (spec.kind, *ARTIFACT_TABLES):
                    connection.execute(
                        f'DELETE FROM "{table}" WHERE artifact_id = ?',  # noqa: S608
                        [artifact_id],
                    )
            insert_rows(connection, spec.kind, artifact_id, result.output)
            placeholders = ", ".join("?" * len(values))
            connection.execute(f"INSERT INTO artifacts VALUES ({placeholders})", values)  # noqa: S608
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
            if result.curves is not None and result.curves.height:
                connection.register("built_curves", result.curves.to_arrow())
                connection.execute(
                    "INSERT INTO curves SELECT ?, step, name, value FROM built_curves",
                    [artifact_id],
                )
            if copy:
                self.backend.register(connection, f"{FILES_FOLDER}/{artifact_id}", copy)

    def header(self, artifact_id: str) -> ArtifactRecord:
        """Everything about an artifact except its rows. Raises InputError if it does not exist."""
        found = self._select_headers("artifact_id = $1", artifact_id)
        if not found:
            raise self._unknown(artifact_id)
        return found[0]

    def headers(self, kind: str | None = None) -> list[ArtifactRecord]:
        """The headers of all artifacts, or of one kind, oldest first."""
        return self._select_headers("$1 IS NULL OR kind = $1", kind)

    def _select_headers(self, condition: str, value: str | None) -> list[ArtifactRecord]:
        with self.read_connection() as connection:
            rows = connection.execute(
                f"SELECT {COLUMNS} FROM artifacts WHERE {condition} "  # noqa: S608
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
        return [parse_record(row, parents.get(row[0], {})) for row in rows]

    def full_id(self, text: str) -> str:
        """The id that a text is or abbreviates (`matching_ids`).

        Raises InputError if there is no such id, or several.
        """
        found = self.matching_ids(text)
        if len(found) == 1:
            return found[0]
        if not found:
            raise self._unknown(text)
        shown = ", ".join(found[:MAX_SHOWN_IDS])
        more = "" if len(found) <= MAX_SHOWN_IDS else f" and {len(found) - MAX_SHOWN_IDS} others"
        raise InputError(f"{text} begins several ids: {shown}{more}; write more of it")

    def matching_ids(self, text: str) -> list[str]:
        """The id that a text is; else those that it begins, or whose hash it begins.

        A text of fewer than MIN_SHORT_ID characters abbreviates none.
        """
        with self.read_connection() as connection:
            rows = connection.execute(
                "SELECT artifact_id FROM artifacts WHERE artifact_id = $1 OR (length($1) >= $2 AND "
                "(starts_with(artifact_id, $1) OR contains(artifact_id, '-' || $1))) "
                "ORDER BY created_at",
                [text, MIN_SHORT_ID],
            ).fetchall()
        found = [artifact_id for (artifact_id,) in rows]
        return [text] if text in found else found

    def _unknown(self, artifact_id: str) -> InputError:
        return InputError(
            f"no artifact {artifact_id} in {self.location}; `convrec artifacts list` shows all"
        )

    def curves(self, artifact_id: str) -> pl.DataFrame:
        """Training curves of an artifact: columns step, name, value."""
        with self.read_connection() as connection:
            return connection.execute(
                "SELECT step, name, value FROM curves WHERE artifact_id = ? ORDER BY name, step",
                [artifact_id],
            ).pl()

    def failures(self, artifact_id: str) -> pl.DataFrame:
        """Contexts that failed in an artifact: columns context_id, reason, final."""
        with self.read_connection() as connection:
            return connection.execute(
                "SELECT context_id, reason, final FROM failures WHERE artifact_id = ? "
                "ORDER BY context_id",
                [artifact_id],
            ).pl()

    # -- pins ----------------------------------------------------------------------------------

    def pinned(self, name: str) -> ArtifactRef | None:
        """The artifact pinned under `name`, if it still exists."""
        with self.read_connection() as connection:
            found = connection.execute(
                "SELECT artifact_id FROM pins WHERE name = ? ORDER BY created_at DESC LIMIT 1",
                [name],
            ).fetchone()
        return self.find(found[0]) if found else None

    @with_retries
    def pin(self, name: str, artifact_id: str) -> None:
        """Pin an artifact under `name`, in place of another."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM pins WHERE name = ?", [name])
            connection.execute("INSERT INTO pins VALUES (?, ?, ?)", [name, artifact_id, utc_now()])

    def pins(self) -> dict[str, str]:
        """Name → pinned artifact id."""
        with self.read_connection() as connection:
            rows = connection.execute("SELECT name, artifact_id FROM pins ORDER BY name").fetchall()
        return dict(rows)

    @with_retries
    def unpin(self, artifact_id: str) -> list[str]:
        """Remove all pins of an artifact; returns their names."""
        with self.transaction() as connection:
            rows = connection.execute(
                "SELECT name FROM pins WHERE artifact_id = ? ORDER BY name", [artifact_id]
            ).fetchall()
            connection.execute("DELETE FROM pins WHERE artifact_id = ?", [artifact_id])
        return [name for (name,) in rows]

    # -- files ---------------------------------------------------------------------------------

    def folder(self, artifact_id: str) -> Path:
        """The path of an artifact's folder on this host; it may not exist."""
        return self.home / FILES_FOLDER / artifact_id

    def fetch_folder(self, artifact_id: str) -> Path:
        """The folder of an artifact, downloaded from a lake if this host does not have it.

        Raises WarehouseError if the download fails.
        """
        return self.fetch_file(f"{FILES_FOLDER}/{artifact_id}")

    def fetch_file(self, name: str, sha256: str = "") -> Path:
        """The folder, or the file with this digest, at `name` in the home; downloaded if needed."""
        path = self.home / name
        self.backend.download(name, path, sha256)
        return path

    def store_file(self, connection: duckdb.DuckDBPyConnection, source: Path, name: str) -> str:
        """Copy a file to `name` in the home and share it, in a write block; returns its SHA-256."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as part:
            shutil.copyfile(source, part)
            part.chmod(0o444)
        self.share_file(connection, name)
        return file_digest(path)

    def share_file(self, connection: duckdb.DuckDBPyConnection, name: str) -> None:
        """Share a file or folder of the home with the other hosts of a lake, in a write block."""
        self.backend.register(connection, name, self.backend.upload(self.home / name, name))

    def make_scratch_folder(self) -> Path:
        """A new folder on the disk of the home, for files of an artifact that is being built."""
        parent = self.home / FILES_FOLDER
        parent.mkdir(exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".making-", dir=parent))

    def _store_folder(self, scratch: Path, spec: ArtifactSpec) -> str:
        """Turn `scratch` into the artifact's folder; returns its shared copy, if there is one."""
        folder = self.folder(spec.artifact_id)
        manifest = {
            "artifact_id": spec.artifact_id,
            "kind": spec.kind,
            "stage": spec.stage,
            "config": dict(spec.config),
            "parents": dict(spec.parents),
            "inputs": dict(spec.inputs),
            "files": sorted(str(p.relative_to(scratch)) for p in scratch.rglob("*") if p.is_file()),
        }
        with atomic_path(scratch / MANIFEST) as part:
            part.write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        scratch.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(scratch, folder)
        return self.backend.upload(folder, f"{FILES_FOLDER}/{folder.name}")


def _write_mode(kind: str, rows: pl.DataFrame | ParquetRows) -> WriteMode:
    mode = WriteMode.DEFAULT
    fills_no_group = rows.height < ROW_GROUP_SIZE
    if rows.height > LONG_TEXT_ROW_GROUP and (fills_no_group or kind in LONG_TEXT_KINDS):
        mode |= WriteMode.LONG_TEXT
    if type(rows) is ParquetRows:  # PatchedRows joins, which may need more memory
        mode |= WriteMode.BULK
    return mode
