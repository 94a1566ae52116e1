"""Published catalogs: names and the list of their versions.

A version is a file in `<home>/catalogs/<name>/` that never changes, and a row in
`catalog_versions`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from convrec.artifacts import Store
from convrec.errors import CatalogError

PREFIX = "catalog:"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class CatalogName(NamedTuple):
    """A named catalog; a `version` of None means the newest."""

    name: str
    version: int | None


@dataclass(frozen=True)
class CatalogVersion:
    """A published version of a catalog.

    `source` is the published file, `path` its copy in the warehouse. `compared_with` is what the
    version's changes are relative to. `announced_at` is None until an event was sent.
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


def parse_catalog_name(setting: str) -> CatalogName | None:
    """The catalog that `ingest.catalog` names; None if it is empty or a path.

    Raises CatalogError for an invalid name or version.
    """
    if not setting.startswith(PREFIX):
        return None
    name, at, version = setting.removeprefix(PREFIX).partition("@")
    if at and not (version.isascii() and version.isdigit()):
        raise CatalogError(
            f"ingest.catalog={setting}: {version!r} is not a version; write catalog:NAME for the "
            "newest version, or catalog:NAME@3"
        )
    return CatalogName(check_name(name), int(version) if at else None)


def check_name(name: str) -> str:
    """Returns the name. Raises CatalogError if it is not valid for a catalog."""
    if not _NAME.fullmatch(name):
        raise CatalogError(
            f"{name!r} is not a valid catalog name; use up to 64 lower-case letters, digits, dots, "
            "dashes and underscores, for example movies-de"
        )
    return name


def list_versions(store: Store, name: str = "") -> list[CatalogVersion]:
    """All published versions, or those of one catalog, oldest first."""
    with store.read_connection() as connection:
        rows = connection.execute(
            "SELECT name, version, sha256, file, source, items, quarantined, compared_with, "
            "published_at, announced_at FROM catalog_versions WHERE $1 = '' OR name = $1 "
            "ORDER BY published_at, name, version",
            [name],
        ).fetchall()
    return [read_version(store, row) for row in rows]


def read_version(store: Store, row: Sequence[Any]) -> CatalogVersion:
    """The version in a row of `catalog_versions`, with its file in the warehouse's folder."""
    name, version, sha256, file, *others = row
    return CatalogVersion(name, version, sha256, store.fetch_file(file, sha256), *others)


def newest_version(store: Store, name: str) -> CatalogVersion | None:
    """The newest published version of a catalog, if there is one."""
    return max(list_versions(store, name), key=lambda version: version.version, default=None)


def find_version(store: Store, name: str, version: int | None) -> CatalogVersion:
    """A published version, by default the newest. Raises CatalogError if it does not exist."""
    versions = {v.version: v for v in list_versions(store, check_name(name))}
    wanted = max(versions, default=None) if version is None else version
    if wanted not in versions:
        published = f"published: {', '.join(map(str, versions))}" if versions else "none published"
        raise CatalogError(
            f"catalog {name} has no version {'yet' if wanted is None else wanted} in "
            f"{store.location} ({published}); `convrec catalog publish FILE --name {name}` "
            "publishes one"
        )
    return versions[wanted]
