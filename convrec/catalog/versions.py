"""Published catalogs: what `ingest.catalog = "catalog:NAME"` means, and the file of each version.

A published version is a file in `<home>/catalogs/<name>/` that never changes again, and a row in
`catalog_versions`. `catalog:NAME` is the newest version; until there is one, `catalog/NAME.csv` of
the project, or else the file that an empty setting would take. `catalog:NAME@3` is that version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from convrec.config import ROOT, has_warehouse, home
from convrec.errors import CatalogError

if TYPE_CHECKING:
    from convrec.artifacts import Store
    from convrec.config import Config

PREFIX = "catalog:"
SUFFIXES = (".csv", ".parquet")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class CatalogName(NamedTuple):
    """A published catalog that a profile names; `version` is None for the newest."""

    name: str
    version: int | None


@dataclass(frozen=True)
class Version:
    """One published version of a catalog.

    `source` is the file that was published, `path` its copy beside the warehouse, `compared_with`
    what its changes are counted from. `announced_at` is empty until an event was sent.
    """

    name: str
    version: int
    sha256: str
    path: Path
    source: str
    items: int
    quarantined: int
    compared_with: str
    published_at: datetime
    announced_at: datetime | None


def named(setting: str) -> CatalogName | None:
    """What `ingest.catalog` names, or None where it is empty or the path of a file.

    Raises CatalogError for a name or a version that cannot be.
    """
    if not setting.startswith(PREFIX):
        return None
    name, at, version = setting.removeprefix(PREFIX).partition("@")
    if at and not (version.isascii() and version.isdigit()):
        raise CatalogError(
            f"ingest.catalog={setting}: {version!r} is no version; write catalog:NAME for the "
            "newest one, or catalog:NAME@3"
        )
    return CatalogName(checked_name(name), int(version) if at else None)


def checked_name(name: str) -> str:
    """The name itself. Raises CatalogError for one that cannot name a catalog."""
    if not _NAME.fullmatch(name):
        raise CatalogError(
            f"{name!r} cannot name a catalog; allowed are up to 64 lower-case letters, digits, "
            "dots, dashes and underscores, as in movies-de"
        )
    return name


def project_file(name: str) -> Path | None:
    """The file of this name in the project's `catalog/`, if there is one."""
    files = (ROOT / "catalog" / f"{name}{suffix}" for suffix in SUFFIXES)
    return next((file for file in files if file.is_file()), None)


def named_file(wanted: CatalogName) -> Path | None:
    """The file of a named catalog; None where it was never published and the project has none.

    Raises CatalogError for a version that is not there.
    """
    from convrec.artifacts import Store

    store, version = Store(home()) if has_warehouse() else None, wanted.version
    if version is None:
        newest = newest_version(store, wanted.name) if store is not None else None
        if newest is None:
            return project_file(wanted.name)
        version = newest.version
    known = published(store, wanted.name) if store is not None else []
    path = next((v.path for v in known if v.version == version), None)
    if path is None or not path.is_file():
        where = store.where if store is not None else home()
        raise CatalogError(
            f"catalog {wanted.name} has no version {version} in {where}; "
            f"`convrec catalog versions {wanted.name}` shows which there are"
        )
    return path


def load_checked(profile: str, overrides: Mapping[str, Any] | None = None) -> Config:
    """The configuration, as `convrec.config.load` reads it.

    Raises CatalogError too, where the overrides name a catalog that is neither published nor a file
    of the project. A profile may: until its catalog is published, it takes what its data has.
    """
    from convrec.artifacts import Store
    from convrec.config import load

    config = load(profile, overrides)
    wanted = named(config.ingest.catalog)
    if wanted is None or named_file(wanted) or uses(load(profile), wanted.name):
        return config
    names = {version.name for version in published(Store(home()))} if has_warehouse() else set()
    names |= {file.stem for file in (ROOT / "catalog").glob("*.*") if file.suffix in SUFFIXES}
    raise CatalogError(
        f"ingest.catalog={config.ingest.catalog} names no catalog: published, or in "
        f"{ROOT / 'catalog'}, are {', '.join(sorted(names)) or 'none'}; "
        f"`convrec catalog publish FILE --name {wanted.name}` makes one"
    )


def pin_version(config: Config, store: Store) -> Config:
    """The configuration with `catalog:NAME` as the version that is the newest now.

    A run fixes it once, so that one which is published meanwhile does not come in between.
    """
    wanted = named(config.ingest.catalog)
    if wanted is None or wanted.version is not None:
        return config
    newest = newest_version(store, wanted.name)
    if newest is None:
        return config
    return at_version(config, wanted.name, newest.version)


def at_version(config: Config, name: str, version: int) -> Config:
    """The configuration with a published version as its catalog."""
    chosen = config.ingest.model_copy(update={"catalog": f"{PREFIX}{name}@{version}"})
    return config.model_copy(update={"ingest": chosen})


_COLUMNS = (
    "name, version, sha256, file, source, items, quarantined, compared_with, "
    "published_at, announced_at"
)


def published(store: Store, name: str = "") -> list[Version]:
    """All published versions, or those of one catalog, oldest first."""
    with store.read_connection() as connection:
        rows = connection.execute(
            f"SELECT {_COLUMNS} FROM catalog_versions WHERE $1 = '' OR name = $1 "  # noqa: S608
            "ORDER BY published_at, name, version",
            [name],
        ).fetchall()
    names = _COLUMNS.replace("file", "path").split(", ")
    found = [dict(zip(names, row, strict=True)) for row in rows]
    return [Version(**{**row, "path": store.kept(row["path"], row["sha256"])}) for row in found]


def newest_version(store: Store, name: str) -> Version | None:
    """The newest published version of a catalog, if there is one."""
    return max(published(store, name), key=lambda version: version.version, default=None)


def find_version(store: Store, name: str, version: int | None) -> Version:
    """A published version, by default the newest. Raises CatalogError where it is not there."""
    known = {v.version: v for v in published(store, checked_name(name))}
    wanted = max(known, default=None) if version is None else version
    if wanted not in known:
        there = f"there are {', '.join(map(str, known))}" if known else "nothing was published"
        raise CatalogError(
            f"catalog {name} has no version {'yet' if wanted is None else wanted} in "
            f"{store.where}: {there}; `convrec catalog publish FILE --name {name}` makes one"
        )
    return known[wanted]


def unpublished(config: Config) -> str:
    """A sentence where the project's file was edited and a published version is used instead."""
    from convrec.artifacts import Store
    from convrec.artifacts.identity import file_digest

    wanted, there = named(config.ingest.catalog), has_warehouse()
    file = project_file(wanted.name) if wanted is not None else None
    if wanted is None or wanted.version is not None or file is None or not there:
        return ""
    known = published(Store(home()), wanted.name)
    if not known or file_digest(file) in {version.sha256 for version in known}:
        return ""
    newest = max(version.version for version in known)
    return (
        f"{file} is not what is used: catalog {wanted.name} is at published version {newest}; "
        f"`convrec catalog publish {file} --name {wanted.name}` publishes the file"
    )


def users(name: str) -> list[str]:
    """The profiles in `profiles/` that take this catalog, in order."""
    from convrec.config import load, profiles

    return [profile for profile in profiles() if uses(load(profile), name)]


def uses(config: Config, name: str) -> bool:
    """Whether a configuration takes the catalog of this name, whichever version."""
    wanted = named(config.ingest.catalog)
    return wanted is not None and wanted.name == name
