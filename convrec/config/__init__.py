"""The typed configuration: profiles (TOML files), overrides, and what they resolve to.

A profile is a commented TOML file in `profiles/` or anywhere on disk; the resolved configuration is
kept with every run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from convrec.lazy import exports

if TYPE_CHECKING:
    from convrec.config.loading import load
    from convrec.config.overrides import parse_overrides
    from convrec.config.places import ROOT, has_warehouse, home, located, profiles
    from convrec.config.sections import (
        Adjust,
        Config,
        Ingest,
        Lora,
        Model,
        Price,
        RankGrpo,
    )
    from convrec.config.stages import DATA_STAGES, STAGES, StageName

__all__ = [
    "DATA_STAGES",
    "ROOT",
    "STAGES",
    "Adjust",
    "Config",
    "Ingest",
    "Lora",
    "Model",
    "Price",
    "RankGrpo",
    "StageName",
    "has_warehouse",
    "home",
    "load",
    "located",
    "parse_overrides",
    "profiles",
]

__getattr__ = exports(
    __name__,
    {
        "DATA_STAGES": "stages",
        "ROOT": "places",
        "STAGES": "stages",
        "Adjust": "sections",
        "Config": "sections",
        "Ingest": "sections",
        "Lora": "sections",
        "Model": "sections",
        "Price": "sections",
        "RankGrpo": "sections",
        "StageName": "stages",
        "has_warehouse": "places",
        "home": "places",
        "load": "loading",
        "located": "places",
        "parse_overrides": "overrides",
        "profiles": "places",
    },
)
