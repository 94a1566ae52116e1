"""The typed configuration: profiles (TOML files) and overrides.

The resolved configuration is stored with every run.
"""

from convrec.config.loading import load
from convrec.config.overrides import parse_overrides
from convrec.config.paths import has_warehouse, home, profiles, resolve_path
from convrec.config.schema import Config
from convrec.config.sections import (
    DEFAULT_TARGETS,
    Adjust,
    Ingest,
    Lora,
    Model,
    ModelSettings,
    Price,
    RankGrpo,
)
from convrec.config.stages import DATA_STAGES, STAGES, StageName
from convrec.utils.project import ROOT

__all__ = [
    "DATA_STAGES",
    "DEFAULT_TARGETS",
    "ROOT",
    "STAGES",
    "Adjust",
    "Config",
    "Ingest",
    "Lora",
    "Model",
    "ModelSettings",
    "Price",
    "RankGrpo",
    "StageName",
    "has_warehouse",
    "home",
    "load",
    "parse_overrides",
    "profiles",
    "resolve_path",
]
