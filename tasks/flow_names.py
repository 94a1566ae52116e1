"""Names that tell flow runs apart: `pipeline · demo · catalog v2 · 6 edits · until adjust`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from convrec.artifacts import Store
from convrec.catalog.publish import read_changes
from convrec.catalog.selection import pin_version
from convrec.catalog.versions import find_version, parse_catalog_name
from convrec.config import has_warehouse, home, load
from convrec.config.overrides import format_override

MAX_SETTINGS, MAX_LENGTH = 2, 40
"""Settings that a name spells out, and their characters; of more it has the number."""

SEPARATOR = " · "


def flow_run_title(flow: str, parameters: Mapping[str, Any]) -> str:
    """The name of a run of a profile: flow, profile, catalog version, options and settings."""
    profile, overrides = str(parameters["profile"]), dict(parameters.get("overrides") or {})
    options = [
        f"{option} {PurePath(str(value)).name}"
        for option in ("until", "refresh", "checkpoint")
        if (value := parameters.get(option))
    ]
    catalog = _catalog_of(profile, overrides)
    if catalog:
        overrides.pop("ingest.catalog", None)
    return SEPARATOR.join([flow, profile_title(profile), *catalog, *options, *_settings(overrides)])


def change_title(parameters: Mapping[str, Any]) -> str:
    """The name of a run for a catalog change: catalog, version, number of edits, profile."""
    name, version = str(parameters["name"]), parameters.get("version")
    profiles = [parameters["profile"]] if parameters.get("profile") else parameters.get("profiles")
    titles = [profile_title(str(profile)) for profile in profiles or ()]
    using = [] if titles in ([], [name]) else [f"for {', '.join(titles)}"]
    return SEPARATOR.join(["catalog change", name, *catalog_title(name, version, name), *using])


def profile_title(profile: str) -> str:
    """The name of a profile, without folder and ending."""
    return PurePath(profile).stem if profile.endswith(".toml") else profile


def catalog_title(name: str, version: int | None, profile: str) -> list[str]:
    """`catalog v2` and `6 edits` of a published version; empty if it cannot be found.

    A run does not fail for its name: whatever is wrong, the run itself says so.
    """
    try:
        if not has_warehouse():
            return []
        store = Store(home())
        found = find_version(store, name, version)
        edits = read_changes(store, found).height if found.compared_with else 0
    except Exception:
        return []
    words = [f"catalog v{found.version}" if name == profile else f"catalog {name} v{found.version}"]
    return [*words, f"{edits:,} {'edit' if edits == 1 else 'edits'}"] if edits else words


def _catalog_of(profile: str, overrides: Mapping[str, Any]) -> list[str]:
    try:
        config = load(profile, overrides)
        if not has_warehouse():
            return []
        catalog = parse_catalog_name(pin_version(config, Store(home())).ingest.catalog)
    except Exception:
        return []
    return catalog_title(*catalog, config.profile) if catalog and catalog.version else []


def _settings(overrides: Mapping[str, Any]) -> Sequence[str]:
    spelled = [f"{key}={format_override(value)}" for key, value in overrides.items()]
    if len(spelled) > MAX_SETTINGS or any(len(one) > MAX_LENGTH for one in spelled):
        count = len(spelled)
        return [f"{count} {'setting' if count == 1 else 'settings'}"]
    return spelled
