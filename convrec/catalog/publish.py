"""Publishes a file as the next version of a named catalog, and records what it changes.

The file is copied to the warehouse, so that a version never changes. The first publication of a
name also records the file that was in use before, from the project or the data, as something to
compare with and to return to. `tasks/catalog_event.py` sends the event.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from convrec.artifacts import Store
from convrec.artifacts.last_build import find_last_build
from convrec.artifacts.retry import with_retries
from convrec.artifacts.tables import utc_now
from convrec.catalog.diff import CatalogDiff, diff_catalogs
from convrec.catalog.load import load_configured_catalog
from convrec.catalog.selection import default_file, profiles_with_catalog
from convrec.catalog.versions import CatalogVersion, check_name, newest_version, read_version
from convrec.config import Config, load
from convrec.errors import CatalogError
from convrec.utils.unicode_text import to_valid_unicode

MAX_LOST_SHARE = 0.1
"""Larger shares of removed items or unusable rows have to be confirmed."""

CHANGE_COLUMNS = ("item_id", "title", "year", "old_item_id", "old_title", "old_year", "fields")


@dataclass(frozen=True)
class Publication:
    """The result of publishing a file.

    `version` is the newest version now, and `is_new` whether this file created it. `diff` is
    relative to `version.compared_with`, None if there was nothing to compare with. `profiles` use
    the catalog.
    """

    version: CatalogVersion
    is_new: bool
    diff: CatalogDiff | None
    quarantine: pl.DataFrame
    profiles: list[str]

    @property
    def counts(self) -> dict[str, int]:
        """The number of items added, removed, renamed and changed; empty without a diff."""
        return {} if self.diff is None else {n: f.height for n, f in self.diff.by_change.items()}

    @property
    def needs_announcement(self) -> bool:
        """Whether an event is still to be sent: for the first version, or one with changes."""
        has_changes = self.diff is None or not self.diff.is_empty
        return self.version.announced_at is None and (has_changes or not self.is_new)


def publish_catalog(
    file: Path, name: str, store: Store, *, yes: bool = False, profiles: Sequence[str] = ()
) -> Publication:
    """Record a catalog file as the next version of `name`, unless the items are unchanged.

    `profiles` use the catalog in addition to those in `profiles/`. The first profile defines the
    file's column names. Raises CatalogError for an unusable file, and unless `yes`, if more than
    MAX_LOST_SHARE of the items are gone or of the rows are unusable.
    """
    check_name(name)
    using = list(dict.fromkeys([*profiles_with_catalog(name), *profiles]))
    config = load(using[0]) if using else None
    items, bad = _load_file(file, config)
    if newest_version(store, name) is None:
        _record_initial_version(file, name, store, config)
    previous, compared_with = _previous_items(name, store, config)
    changes = None if previous is None else diff_catalogs(previous, items)
    newest = newest_version(store, name)
    if newest is not None and changes is not None and changes.is_empty:
        return Publication(newest, False, changes, bad, using)
    if not yes:
        _check_losses(file, name, items, bad, previous, changes)
    version = _record_version(file, name, store, items, bad, compared_with, changes)
    return Publication(version, True, changes, bad, using)


@with_retries
def record_announcement(store: Store, version: CatalogVersion) -> None:
    """Record that an event about this version was accepted."""
    with store.transaction() as connection:
        connection.execute(
            "UPDATE catalog_versions SET announced_at = ? WHERE name = ? AND version = ?",
            [utc_now(), version.name, version.version],
        )


def read_changes(store: Store, version: CatalogVersion) -> pl.DataFrame:
    """The changes of a version, one row per item: `change` and CHANGE_COLUMNS."""
    with store.read_connection() as connection:
        return connection.execute(
            "SELECT * EXCLUDE (name, version) FROM catalog_changes "
            "WHERE name = ? AND version = ? ORDER BY change, title, year, item_id",
            [version.name, version.version],
        ).pl()


def _load_file(file: Path, config: Config | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    return load_configured_catalog(file, config)


def _record_initial_version(file: Path, name: str, store: Store, config: Config | None) -> None:
    """Record the file in use as version 1, unless it is the file to be published."""
    current = default_file(name, config)
    if current is None or current.resolve() == file.resolve():
        return
    items, bad = _load_file(current, config)
    version = _record_version(current, name, store, items, bad, "", None)
    record_announcement(store, version)


def _previous_items(
    name: str, store: Store, config: Config | None
) -> tuple[pl.DataFrame | None, str]:
    """The items to compare with and their name: the newest version, else the last build."""
    newest = newest_version(store, name)
    if newest is not None:
        return _load_file(newest.path, config)[0], f"{name}@{newest.version}"
    build = find_last_build(config, store, until="catalog") if config is not None else None
    if build is None:
        return None, ""
    artifact_id = build.refs["catalog"].artifact_id
    return store.read(artifact_id), artifact_id


def _check_losses(
    file: Path,
    name: str,
    items: pl.DataFrame,
    bad: pl.DataFrame,
    previous: pl.DataFrame | None,
    changes: CatalogDiff | None,
) -> None:
    """Raise CatalogError if more than MAX_LOST_SHARE of the rows or items are lost."""
    rows = items.height + bad.height
    if bad.height > MAX_LOST_SHARE * rows:
        raise CatalogError(
            f"{bad.height} of {rows} rows of {file} are unusable, more than {MAX_LOST_SHARE:.0%} "
            f"(the first: line {bad['line'][0]}, {bad['reason'][0]}); correct them, or publish "
            "with --yes if the other rows are the whole catalog"
        )
    if previous is None or changes is None:
        return
    removed = changes.removed.height
    if removed > MAX_LOST_SHARE * previous.height:
        raise CatalogError(
            f"{file} lacks {removed} of the {previous.height} items of {name}, more than "
            f"{MAX_LOST_SHARE:.0%} (for example {changes.removed['title'][0]!r}); publish with "
            "--yes if they are meant to be removed"
        )


@with_retries
def _record_version(
    file: Path,
    name: str,
    store: Store,
    items: pl.DataFrame,
    bad: pl.DataFrame,
    compared_with: str,
    changes: CatalogDiff | None,
) -> CatalogVersion:
    """Copy the file, then write the rows, in one transaction."""
    with store.transaction() as connection:
        ((number,),) = connection.execute(
            "SELECT coalesce(max(version), 0) + 1 FROM catalog_versions WHERE name = ?", [name]
        ).fetchall()
        suffix = ".parquet" if file.suffix.lower() == ".parquet" else ".csv"
        copy = f"catalogs/{name}/{number}{suffix}"
        sha256, source = store.store_file(connection, file, copy), to_valid_unicode(file.resolve())
        quarantined, published_at = bad.height, utc_now()
        values = [source, items.height, quarantined, compared_with, published_at, None]
        row = [name, number, sha256, copy, *values]
        marks = ", ".join("?" for _ in row)
        connection.execute(f"INSERT INTO catalog_versions VALUES ({marks})", row)  # noqa: S608
        for change, frame in ({} if changes is None else changes.by_change).items():
            rows = frame.select([c for c in frame.columns if c in CHANGE_COLUMNS])
            connection.register(f"rows_{change}", rows.to_arrow())
            connection.execute(
                f"INSERT INTO catalog_changes BY NAME SELECT ? AS name, ? AS version, "  # noqa: S608
                f"? AS change, * FROM rows_{change}",
                [name, number, change],
            )
    return read_version(store, row)
