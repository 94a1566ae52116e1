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
    from convrec.config.places import ROOT, has_warehouse, home, lake_address, located, profiles
    from convrec.config.sections import (
        Adjust,
        Batch,
        Config,
        Evaluate,
        Ingest,
        Llm,
        Lora,
        Model,
        Price,
        RankGrpo,
        Recommend,
        Reflect,
        Remap,
        Runner,
        Section,
        Sft,
        Train,
    )
    from convrec.config.stages import DATA_STAGES, STAGES, StageName

__all__ = [
    "DATA_STAGES",
    "ROOT",
    "STAGES",
    "Adjust",
    "Batch",
    "Config",
    "Evaluate",
    "Ingest",
    "Llm",
    "Lora",
    "Model",
    "Price",
    "RankGrpo",
    "Recommend",
    "Reflect",
    "Remap",
    "Runner",
    "Section",
    "Sft",
    "StageName",
    "Train",
    "has_warehouse",
    "home",
    "lake_address",
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
        "Batch": "sections",
        "Config": "sections",
        "Evaluate": "sections",
        "Ingest": "sections",
        "Llm": "sections",
        "Lora": "sections",
        "Model": "sections",
        "Price": "sections",
        "RankGrpo": "sections",
        "Recommend": "sections",
        "Reflect": "sections",
        "Remap": "sections",
        "Runner": "sections",
        "Section": "sections",
        "Sft": "sections",
        "StageName": "stages",
        "Train": "sections",
        "has_warehouse": "places",
        "home": "places",
        "lake_address": "places",
        "load": "loading",
        "located": "places",
        "parse_overrides": "overrides",
        "profiles": "places",
    },
)
