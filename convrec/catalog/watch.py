"""Finds catalog files that were replaced without being published, for `check-catalogs`.

A file is watched if a profile names its catalog (`catalog:NAME`): the project's `catalog/NAME.csv`,
or the file next to the data. It has changed if its content was never published under the name. If
nothing was published, it is compared with the catalog of the profile's last build.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from convrec.artifacts import Store
from convrec.artifacts.identity import file_digest
from convrec.artifacts.last_build import find_last_build
from convrec.catalog.selection import default_file, hub_catalog
from convrec.catalog.versions import list_versions, parse_catalog_name
from convrec.config import Config, load, profiles


class WatchedFile(NamedTuple):
    """The file of a named catalog, and whether it changed."""

    name: str
    file: Path
    changed: bool


def find_watched_files(store: Store) -> list[WatchedFile]:
    """The files of the catalogs that the profiles in `profiles/` name, by name."""
    configs_by_catalog: dict[str, list[Config]] = {}
    for profile in profiles():
        config = load(profile)
        if catalog := parse_catalog_name(config.ingest.catalog):
            configs_by_catalog.setdefault(catalog.name, []).append(config)
    files = []
    for name, configs in sorted(configs_by_catalog.items()):
        file = default_file(name, configs[0])
        if file is not None and file.is_file():
            files.append(WatchedFile(name, file, _has_changed(store, name, file, configs)))
    return files


def _has_changed(store: Store, name: str, file: Path, configs: list[Config]) -> bool:
    digest = file_digest(file)
    published = {version.sha256 for version in list_versions(store, name)}
    if published:
        return digest not in published
    builds = (find_last_build(config, store, until="catalog") for config in configs)
    refs = [build.refs["catalog"].artifact_id for build in builds if build is not None]
    built = {store.header(ref).inputs.get("catalog", "") for ref in refs}
    on_hub = {str(source) for source in map(hub_catalog, configs) if source}
    return bool(built) and built.isdisjoint({digest, *on_hub})
