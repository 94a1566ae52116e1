"""Catalog files that somebody has replaced without publishing them: `check-catalogs` finds them.

A file is watched where a profile names its catalog (`catalog:NAME`): the project's
`catalog/NAME.csv`, or the one beside the data. It counts as changed where its bytes were never
published under the name and, before anything was, are not what the profile last built from.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from convrec.artifacts.identity import file_digest
from convrec.artifacts.last_build import last_build
from convrec.catalog.publish import own_file
from convrec.catalog.versions import named, published
from convrec.config import load, profiles

if TYPE_CHECKING:
    from convrec.artifacts import Store
    from convrec.config import Config


class Watched(NamedTuple):
    """A catalog's file, and whether it is another than before."""

    name: str
    file: Path
    changed: bool


def watched(store: Store) -> list[Watched]:
    """The files behind the catalogs that the profiles in `profiles/` name, by name."""
    takers: dict[str, list[Config]] = {}
    for profile in profiles():
        config = load(profile)
        if wanted := named(config.ingest.catalog):
            takers.setdefault(wanted.name, []).append(config)
    found = []
    for name, configs in sorted(takers.items()):
        file = own_file(name, configs[0])
        if file is not None and file.is_file():
            found.append(Watched(name, file, _changed(store, name, file, configs)))
    return found


def _changed(store: Store, name: str, file: Path, configs: list[Config]) -> bool:
    digest = file_digest(file)
    known = {version.sha256 for version in published(store, name)}
    if not known:  # nothing was published: compare with what was built, if anything was
        builds = (last_build(config, store, until="catalog") for config in configs)
        refs = [build.refs["catalog"].artifact_id for build in builds if build is not None]
        known = {store.header(ref).inputs.get("catalog", "") for ref in refs}
        return bool(known) and digest not in known
    return digest not in known
