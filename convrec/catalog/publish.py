"""`catalog publish`: a file becomes the next version of a named catalog, with what it changes.

The file is copied beside the warehouse, so that a version stays what it was; version, source and
changes are rows. The first publication under a name also records what was in use until then, the
project's file or the one beside the data, so that there is something to compare with and to go
back to. Nothing here tells anybody: the event is sent by `tasks/catalog_event.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from convrec.artifacts.retry import again
from convrec.artifacts.tables import utc_now
from convrec.catalog.versions import (
    Version,
    checked_name,
    newest_version,
    project_file,
    users,
)
from convrec.errors import CatalogError, ConvrecError

if TYPE_CHECKING:
    import polars as pl

    from convrec.artifacts import Store
    from convrec.catalog.diff import CatalogDiff
    from convrec.config import Config

SHRINKAGE = 0.1
"""Share of the items that may go, or of the rows that may be unusable, without being confirmed."""

CHANGE_COLUMNS = ("item_id", "title", "year", "old_item_id", "old_title", "old_year", "fields")


@dataclass(frozen=True)
class Publication:
    """What became of a file: `version` is the newest now, `new` whether this file made it.

    `diff` is against what `compared_with` names, None where there was nothing before. `profiles`
    take the catalog.
    """

    version: Version
    new: bool
    diff: CatalogDiff | None
    quarantine: pl.DataFrame
    profiles: list[str]

    @property
    def counts(self) -> dict[str, int]:
        """How many items were added, removed, renamed and changed."""
        return {} if self.diff is None else {n: f.height for n, f in self.diff.frames.items()}

    @property
    def to_announce(self) -> bool:
        """Whether anybody has still to be told: a version that changed something, or the first."""
        changes = self.diff is None or not self.diff.empty
        return self.version.announced_at is None and (changes or not self.new)


def publish(
    file: Path, name: str, store: Store, *, yes: bool = False, profiles: Sequence[str] = ()
) -> Publication:
    """Record a catalog file as the next version of `name`; the same items again make none.

    `profiles` take the catalog besides those in `profiles/`; the first profile says what the file
    calls its columns. Raises CatalogError for a file that is no catalog, and for one in which more
    than SHRINKAGE of the items are gone or of the rows cannot be used, unless `yes`.
    """
    checked_name(name)
    using = [*users(name), *(p for p in profiles if p not in users(name))]
    config = _config(using)
    items, bad = _read(file, config)
    if newest_version(store, name) is None:
        _record_start(file, name, store, config)
    before, compared_with = _before(name, store, config)
    changes = None if before is None else _diff(before, items)
    newest = newest_version(store, name)
    if newest is not None and changes is not None and changes.empty:
        return Publication(newest, False, changes, bad, using)
    if not yes:
        _refuse_shrinkage(file, name, items, bad, before, changes)
    version = _record(file, name, store, items, bad, compared_with, changes)
    return Publication(version, True, changes, bad, using)


def own_file(name: str, config: Config | None) -> Path | None:
    """The file that a named catalog stands for until something is published."""
    from convrec.catalog.resolve import own_catalog

    if (file := project_file(name)) or config is None:
        return file
    try:
        return own_catalog(config)
    except ConvrecError:  # the data are not here
        return None


@again
def mark_announced(store: Store, version: Version) -> None:
    """Note that an event about this version was accepted."""
    with store.write() as connection:
        connection.execute(
            "UPDATE catalog_versions SET announced_at = ? WHERE name = ? AND version = ?",
            [utc_now(), version.name, version.version],
        )


def changes_of(store: Store, version: Version) -> pl.DataFrame:
    """What a version changed, one item a row: `change` and the columns of CHANGE_COLUMNS."""
    with store.read_connection() as connection:
        return connection.execute(
            "SELECT * EXCLUDE (name, version) FROM catalog_changes "
            "WHERE name = ? AND version = ? ORDER BY change, title, year, item_id",
            [version.name, version.version],
        ).pl()


def _config(using: Sequence[str]) -> Config | None:
    from convrec.config import load

    return load(using[0]) if using else None


def _read(file: Path, config: Config | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    from convrec.catalog.load import load_catalog

    if config is None:
        return load_catalog(file)
    return load_catalog(file, config.ingest.names, years=config.recommend.years)


def _diff(before: pl.DataFrame, items: pl.DataFrame) -> CatalogDiff:
    from convrec.catalog.diff import diff_catalogs

    return diff_catalogs(before, items)


def _record_start(file: Path, name: str, store: Store, config: Config | None) -> None:
    """Record what is in use as version 1, unless it is the very file that is published."""
    own = own_file(name, config)
    if own is None or own.resolve() == file.resolve():
        return
    items, bad = _read(own, config)
    version = _record(own, name, store, items, bad, "", None)
    mark_announced(store, version)


def _before(name: str, store: Store, config: Config | None) -> tuple[pl.DataFrame | None, str]:
    """The items to compare with, and what they are: the newest version, else the last build's."""
    newest = newest_version(store, name)
    if newest is not None:
        return _read(newest.path, config)[0], f"{name}@{newest.version}"
    from convrec.artifacts.last_build import last_build

    built = last_build(config, store, until="catalog") if config is not None else None
    if built is None:
        return None, ""
    ref = built.refs["catalog"].artifact_id
    return store.read(ref), ref


def _refuse_shrinkage(
    file: Path,
    name: str,
    items: pl.DataFrame,
    bad: pl.DataFrame,
    before: pl.DataFrame | None,
    changes: CatalogDiff | None,
) -> None:
    rows = items.height + bad.height
    if bad.height > SHRINKAGE * rows:
        raise CatalogError(
            f"{bad.height} of {rows} rows of {file} cannot be used, more than {SHRINKAGE:.0%} (the "
            f"first: line {bad['line'][0]}, {bad['reason'][0]}); mend them, or publish with --yes "
            "if the rest is meant to be the whole catalog"
        )
    if before is None or changes is None:
        return
    gone = changes.removed.height
    if gone > SHRINKAGE * before.height:
        raise CatalogError(
            f"{file} lacks {gone} of the {before.height} items of {name}, more than "
            f"{SHRINKAGE:.0%} (as {changes.removed['title'][0]!r}); publish with --yes if they are "
            "meant to go"
        )


@again
def _record(
    file: Path,
    name: str,
    store: Store,
    items: pl.DataFrame,
    bad: pl.DataFrame,
    compared_with: str,
    changes: CatalogDiff | None,
) -> Version:
    """Copy the file and write the rows in one transaction; the copy is complete before the rows."""
    from convrec.catalog.load import shown

    with store.write() as connection:
        found = connection.execute(
            "SELECT coalesce(max(version), 0) + 1 FROM catalog_versions WHERE name = ?", [name]
        ).fetchone()
        number = found[0] if found else 1
        suffix = ".parquet" if file.suffix.lower() == ".parquet" else ".csv"
        copy = f"catalogs/{name}/{number}{suffix}"
        sha256 = store.keep(connection, file, copy)
        version = Version(
            name=name,
            version=number,
            sha256=sha256,
            path=store.home / copy,
            source=shown(file.resolve()),
            items=items.height,
            quarantined=bad.height,
            compared_with=compared_with,
            published_at=utc_now(),
            announced_at=None,
        )
        connection.execute(
            "INSERT INTO catalog_versions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
            [
                name,
                number,
                version.sha256,
                copy,
                version.source,
                version.items,
                version.quarantined,
                compared_with,
                version.published_at,
            ],
        )
        for change, frame in ({} if changes is None else changes.frames).items():
            rows = frame.select([c for c in frame.columns if c in CHANGE_COLUMNS])
            connection.register(f"rows_{change}", rows.to_arrow())
            connection.execute(
                f"INSERT INTO catalog_changes BY NAME SELECT ? AS name, ? AS version, "  # noqa: S608
                f"? AS change, * FROM rows_{change}",
                [name, number, change],
            )
    return replace(version, path=store.kept(copy, sha256))
